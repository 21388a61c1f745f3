// Completes package-lock.json after a dependency was added or updated: where the registry that npm
// used lacks an optional package for another platform, npm leaves it out, and `npm ci` then refuses
// the file everywhere. Name and parent tell all that the entry needs.
import { readFileSync, writeFileSync } from 'node:fs';

const PLATFORM =
  /(android|darwin|freebsd|linux|openharmony|win32)-(arm64|arm|ia32|loong64|ppc64|riscv64|s390x|x64)(?:-(?:(gnu)|(musl))?[a-z]*)?$/;

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const { '': root, ...packages } = lock.packages;
for (const parent of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const platform = PLATFORM.exec(name);
    if (platform === null || `node_modules/${name}` in packages) continue;
    const [, os, cpu, gnu, musl] = platform;
    packages[`node_modules/${name}`] = {
      version,
      cpu: [cpu],
      ...(parent.dev && { dev: true }),
      ...(os === 'linux' && (gnu || musl) && { libc: [gnu ? 'glibc' : 'musl'] }),
      optional: true,
      os: [os],
    };
    console.log(`added ${name}@${version}`);
  }
}
const sorted = Object.entries(packages).sort(([a], [b]) => a.localeCompare(b, 'en'));
lock.packages = { '': root, ...Object.fromEntries(sorted) };
writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`);
