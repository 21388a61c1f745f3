import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { start, stop } from './children.mjs';
import { nginxPaths } from './nginx.mjs';
import { freePort, waitForPort } from './ports.mjs';

const GO_SOURCE = fileURLToPath(new URL('../native/reverse-proxy.go', import.meta.url));
const BUILT = fileURLToPath(new URL('../../.cache/bench/', import.meta.url));

/** Proxies that are no Node programs: how each is started, and what must be installed for it. */
const natives = {
  'go-reverse-proxy': {
    tool: 'go',
    prepare: buildGo,
    command: ({ port, upstream }) => [join(BUILT, 'go-reverse-proxy'), [String(port), upstream]],
    env: { GOMAXPROCS: '1' },
  },
  nginx: {
    tool: 'nginx',
    command: ({ folder, port, upstream }) => {
      writeFileSync(join(folder, 'nginx.conf'), nginxConfiguration(port, upstream));
      return ['nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'error.log']];
    },
  },
  haproxy: {
    tool: 'haproxy',
    command: ({ folder, port, upstream }) => {
      writeFileSync(join(folder, 'haproxy.cfg'), haproxyConfiguration(port, upstream));
      return ['haproxy', ['-db', '-q', '-f', join(folder, 'haproxy.cfg')]];
    },
  },
};

/** Whether what a native proxy needs is installed. */
export function isAvailable(name) {
  return spawnSync(natives[name].tool, ['-v']).error === undefined;
}

/** Starts a native proxy on one core; its CPU time is read from `/proc`. */
export async function startNative({ name }, { core, upstream }) {
  const { prepare, command, env } = natives[name];
  prepare?.();
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'headrace-bench-'));
  const child = start(core, ...command({ folder, port, upstream }), {
    stdio: 'ignore',
    env: { ...process.env, ...env },
  });
  await waitForPort(port, child);
  return {
    origin: `http://127.0.0.1:${port}`,
    pid: child.pid,
    usage: async () => usageOf(child.pid),
    output: () => '',
    close: async () => {
      await stop(child, 'SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function buildGo() {
  const binary = join(BUILT, 'go-reverse-proxy');
  const built = statSync(binary, { throwIfNoEntry: false });
  if (built !== undefined && built.mtimeMs > statSync(GO_SOURCE).mtimeMs) return;
  mkdirSync(BUILT, { recursive: true });
  execFileSync('go', ['build', '-o', binary, GO_SOURCE], { stdio: ['ignore', 2, 2] });
}

/** Clock ticks a second in `/proc`: 100 on every Linux that Node runs on. */
const TICK_MICROS = 10_000;

/** CPU time and peak memory of a process, as Linux has counted them. */
export function usageOf(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name of the command may contain anything; the fields are counted from behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    cpuMicros: (Number(fields[11]) + Number(fields[12])) * TICK_MICROS,
    maxRssKiB: Number(/^VmHWM:\s*(\d+)/m.exec(status)?.[1] ?? 0),
  };
}

function nginxConfiguration(port, upstream) {
  return `
daemon off;
master_process off;
pid nginx.pid;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 120s;
${nginxPaths()}
  upstream backend {
    server ${new URL(upstream).host};
    keepalive 256;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port} backlog=2048;
    location / {
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }
}
`;
}

function haproxyConfiguration(port, upstream) {
  return `
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  http-reuse always
frontend front
  bind 127.0.0.1:${port}
  default_backend back
backend back
  server one ${new URL(upstream).host} pool-max-conn 256
`;
}
