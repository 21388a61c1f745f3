import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { start, stop } from './children.mjs';
import { nginxPaths } from './nginx.mjs';
import { freePort, waitForPort } from './ports.mjs';

const LARGE_BYTES = 1024 * 1024;
const SMALL_JSON = JSON.stringify({
  id: 1024,
  name: 'Ada Lovelace',
  email: 'ada@example.org',
  roles: ['reader', 'author'],
  active: true,
  created: '2024-02-29T12:00:00Z',
  note: 'hello!',
});

/** nginx with one worker, so that the upstream is never what is measured. */
export async function startUpstream(core) {
  const directory = mkdtempSync(join(tmpdir(), 'headrace-bench-'));
  const port = await freePort();
  writeFileSync(join(directory, 'large'), randomBytes(LARGE_BYTES));
  writeFileSync(join(directory, 'nginx.conf'), configuration(directory, port));

  const child = start(core, 'nginx', ['-p', directory, '-c', 'nginx.conf', '-e', 'error.log'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const removeDirectory = () => rmSync(directory, { recursive: true, force: true });
  process.on('exit', removeDirectory);
  await waitForPort(port, child);

  return { origin: `http://127.0.0.1:${port}`, close: () => stop(child).then(removeDirectory) };
}

function configuration(directory, port) {
  return `
daemon off;
# One process: nothing is left behind when it is killed.
master_process off;
pid nginx.pid;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
  access_log off;
  server_tokens off;
  keepalive_requests 1000000000;
  keepalive_timeout 120s;
  client_body_buffer_size 16k;
  large_client_header_buffers 4 16k;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=16;
  default_type application/json;
${nginxPaths()}
  server {
    listen 127.0.0.1:${port} backlog=2048;
    add_header Cache-Control "private, max-age=0";
    add_header ETag '"5f3c-18d9a2"';
    add_header Vary "Accept-Encoding";
    add_header X-Request-Id $request_id;

${locations('small', `return 200 '${SMALL_JSON}';`)}
${locations('post', `return 200 '${SMALL_JSON}';`)}
${locations('large', `default_type application/octet-stream; alias ${directory}/large;`)}

    # Sends the request body back. Only for the check before a run: nginx reads a body only to pass it on.
${locations('echo', `proxy_set_header X-Body $request_body; proxy_pass http://127.0.0.1:${port}/echoed;`)}
    location = /echoed { return 200 $http_x_body; }
  }
}
`;
}

/** With and without the prefix of the clients: headrace cuts it, the others pass it on. */
function locations(name, directives) {
  return ['', '/api']
    .map((prefix) => `    location = ${prefix}/${name} { ${directives} }`)
    .join('\n');
}
