import { randomBytes } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { makeCertificate } from './certificate.mjs';
import { start, stop } from './children.mjs';
import { nginxCommand, nginxListen } from './nginx.mjs';
import { page } from './page.mjs';
import { freePort, waitForPort } from './ports.mjs';
import { temporaryFolder } from './temporary-folder.mjs';

const MIB = 1024 * 1024;
const FAR = fileURLToPath(new URL('far.mjs', import.meta.url));
const SMALL_JSON = JSON.stringify({
  id: 1024,
  name: 'Ada Lovelace',
  email: 'ada@example.org',
  roles: ['reader', 'author'],
  active: true,
  created: '2024-02-29T12:00:00Z',
  note: 'hello!',
});

/**
 * Upstreams on the core of the load: nginx, so that it is never what is measured, and far.mjs. With `tls` there is a
 * certificate, and nginx listens with it too.
 */
export async function startUpstreams({ core, node, tls }) {
  const { folder, remove } = temporaryFolder();
  writeFiles(folder);
  const certificate = tls ? makeCertificate(folder) : undefined;
  const [plain, secure, far] = [await freePort(), await freePort(), await freePort()];

  const io = { stdio: ['ignore', 'ignore', 'inherit'] };
  const listen = [nginxListen(plain), tls ? nginxListen(secure, certificate) : ''];
  const nginx = start(core, ...nginxCommand(folder, http(folder, plain, listen)), io);
  const env = { ...process.env, PORT: String(far) };
  const distant = start(core, node, [FAR], { ...io, env });
  await Promise.all([waitForPort(plain, nginx), waitForPort(far, distant)]);
  return {
    certificate,
    origins: {
      plain: `http://127.0.0.1:${plain}`,
      tls: `https://127.0.0.1:${secure}`,
      far: `http://127.0.0.1:${far}`,
    },
    close: async () => {
      await Promise.all([stop(nginx), stop(distant, 'SIGKILL')]);
      remove();
    },
  };
}

function writeFiles(folder) {
  writeFileSync(join(folder, 'large'), randomBytes(MIB));
  writeFileSync(join(folder, 'huge'), randomBytes(MIB));
  // The rest is a hole, which costs no disk.
  truncateSync(join(folder, 'huge'), 100 * MIB);
  writeFileSync(join(folder, 'page'), gzipSync(page()));
}

function http(folder, port, listen) {
  return `
  server_tokens off;
  client_body_buffer_size 16k;
  large_client_header_buffers 4 16k;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=16;
  default_type application/json;
  server {
    ${listen.join('\n    ')}
    add_header Cache-Control "private, max-age=0";
    add_header ETag '"5f3c-18d9a2"';
    add_header Vary "Accept-Encoding";
    add_header X-Request-Id $request_id;

${locations('small', `return 200 '${SMALL_JSON}';`)}
${locations('post', `return 200 '${SMALL_JSON}';`)}
${locations('large', `default_type application/octet-stream; alias ${folder}/large;`)}
${locations('huge', `default_type application/octet-stream; alias ${folder}/huge;`)}
${locations('page', `default_type text/html; add_header Content-Encoding gzip; alias ${folder}/page;`)}

    # Sends the request body back. Only for the check before a run: nginx reads a body only to pass it on.
${locations('echo', `proxy_set_header X-Body $request_body; proxy_pass http://127.0.0.1:${port}/echoed;`)}
    location = /echoed { return 200 $http_x_body; }
  }`;
}

/** With and without the prefix of the clients: headrace cuts it, the others pass it on. */
function locations(name, directives) {
  return ['', '/api']
    .map((prefix) => `    location = ${prefix}/${name} { ${directives} }`)
    .join('\n');
}
