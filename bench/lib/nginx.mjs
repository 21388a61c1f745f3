import { spawnSync } from 'node:child_process';

/** Every module that nginx was built with wants its temporary folder; the built-in ones need root. */
export function nginxPaths() {
  const { stderr } = spawnSync('nginx', ['-V'], { encoding: 'utf8' });
  const names = [...stderr.matchAll(/--http-([a-z-]+)-temp-path=/g)].map(([, name]) => name);
  return names
    .map((name) => name.replaceAll('-', '_'))
    .filter((name) => !stderr.includes(`--without-http_${name}_module`))
    .map((name) => `  ${name}_temp_path tmp-${name};`)
    .join('\n');
}
