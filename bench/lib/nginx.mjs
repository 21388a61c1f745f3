import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Writes the configuration of an nginx that serves `http` from one process, and returns the command that starts
 * it. Nothing is left behind when that process is killed, because there is no master.
 */
export function nginxCommand(folder, http) {
  writeFileSync(
    join(folder, 'nginx.conf'),
    `
daemon off;
master_process off;
pid nginx.pid;
worker_rlimit_nofile 20000;
events { worker_connections 16384; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
${temporaryFolders()}
${http}
}
`,
  );
  return ['nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'error.log']];
}

/** The lines of a server that say where it listens. With a `certificate` it speaks TLS. */
export function nginxListen(port, certificate) {
  const plain = `listen 127.0.0.1:${port}`;
  if (certificate === undefined) return `${plain} backlog=4096;`;
  return `${plain} ssl backlog=4096; ssl_certificate ${certificate.cert}; ssl_certificate_key ${certificate.key};`;
}

/** Every module that nginx was built with wants its temporary folder; the built-in ones need root. */
function temporaryFolders() {
  const { stderr } = spawnSync('nginx', ['-V'], { encoding: 'utf8' });
  const names = [...stderr.matchAll(/--http-([a-z-]+)-temp-path=/g)].map(([, name]) => name);
  return names
    .map((name) => name.replaceAll('-', '_'))
    .filter((name) => !stderr.includes(`--without-http_${name}_module`))
    .map((name) => `  ${name}_temp_path tmp-${name};`)
    .join('\n');
}
