import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { start, stop } from './children.mjs';
import { nginxCommand, nginxListen } from './nginx.mjs';
import { freePort, waitForPort } from './ports.mjs';
import { temporaryFolder } from './temporary-folder.mjs';
import { toolVersion } from './versions.mjs';

const GO_SOURCE = fileURLToPath(new URL('../native/reverse-proxy.go', import.meta.url));
const BUILT = fileURLToPath(new URL('../../.cache/bench/', import.meta.url));

/**
 * Proxies that are no Node programs: what must be installed for each, and the command that starts it.
 */
const natives = {
  'go-reverse-proxy': {
    tool: 'go',
    prepare: buildGo,
    command: ({ port, upstream }) => [join(BUILT, 'go-reverse-proxy'), [String(port), upstream]],
  },
  nginx: {
    tool: 'nginx',
    command: ({ folder, ...setting }) => nginxCommand(folder, nginxProxy(setting)),
  },
  haproxy: {
    tool: 'haproxy',
    command: ({ folder, ...setting }) => {
      writeFileSync(join(folder, 'haproxy.cfg'), haproxyConfiguration(setting));
      return ['haproxy', ['-db', '-q', '-f', join(folder, 'haproxy.cfg')]];
    },
  },
};

/** Whether what a native proxy needs is installed. */
export function isAvailable(name) {
  return toolVersion(natives[name].tool) !== undefined;
}

/** Starts a native proxy on one core; its CPU time is read from `/proc`. */
export async function startNative({ name }, { core, upstream, env, benchCase, certificate }) {
  const { prepare, command } = natives[name];
  prepare?.();
  const port = await freePort();
  const { folder, remove } = temporaryFolder();
  const front = benchCase.front === 'tls' ? certificate : undefined;
  const connections = Number(env.BENCH_CONNECTIONS);
  const setting = { folder, port, upstream, front, certificate, connections };
  const child = start(core, ...command(setting), {
    stdio: 'ignore',
    env: { ...process.env, ...env, GOMAXPROCS: '1' },
  });
  const close = async () => {
    await stop(child, 'SIGKILL');
    remove();
  };
  await waitForPort(port, child).catch(async (error) => {
    await close();
    throw error;
  });
  return {
    origin: `${front ? 'https' : 'http'}://127.0.0.1:${port}`,
    pid: child.pid,
    usage: async () => usageOf(child.pid),
    output: () => '',
    close,
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
function usageOf(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name of the command may contain anything; the fields are counted from behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    cpuMicros: (Number(fields[11]) + Number(fields[12])) * TICK_MICROS,
    maxRssKiB: Number(/^VmHWM:\s*(\d+)/m.exec(status)?.[1] ?? 0),
  };
}

/** Bodies go through as they come, without a stay on the disk. */
function nginxProxy({ port, upstream, front, certificate, connections }) {
  const { protocol, host } = new URL(upstream);
  return `
  upstream backend {
    server ${host};
    keepalive ${connections};
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
  }
  map $http_upgrade $connection_field {
    default upgrade;
    '' '';
  }
  server {
    ${nginxListen(port, front)}
    client_max_body_size 0;
    location / {
      proxy_pass ${protocol}//backend;
      proxy_http_version 1.1;
      proxy_set_header Connection $connection_field;
      proxy_set_header Upgrade $http_upgrade;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
      ${protocol === 'https:' ? `proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_trusted_certificate ${certificate.cert};` : ''}
    }
  }`;
}

function haproxyConfiguration({ port, upstream, front, certificate, connections }) {
  const { protocol, host } = new URL(upstream);
  const tls = protocol === 'https:' ? `ssl verify required ca-file ${certificate.cert}` : '';
  return `
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  http-reuse always
frontend front
  bind 127.0.0.1:${port} ${front ? `ssl crt ${front.both}` : ''}
  default_backend back
backend back
  server one ${host} pool-max-conn ${connections} pool-purge-delay 300s ${tls}
`;
}
