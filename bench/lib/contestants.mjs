import { fileURLToPath } from 'node:url';
import { isAvailable } from './native.mjs';

/**
 * Everything that can be measured. The baseline runs only when there is one, and what is `asked` only when
 * `--only` names it. `pieces` are added to headrace's pipeline.
 */
const all = [
  { name: 'floor-node', kind: 'floor' },
  { name: 'floor-express', kind: 'floor' },
  { name: 'headrace', kind: 'headrace' },
  { name: 'headrace-baseline', kind: 'headrace', script: 'headrace', baseline: true },
  { name: 'headrace-seven', kind: 'headrace', script: 'headrace', pieces: 'circuitBreaker' },
  {
    name: 'headrace-observed',
    kind: 'headrace',
    script: 'headrace',
    pieces: 'circuitBreaker,accessLog,metrics,statusPage',
  },
  ...[
    'concurrencyLimit',
    'rateLimiter',
    'retry',
    'fallback',
    'accessLog',
    'metrics',
    'requestId',
    'tracing',
  ].map((piece) => ({
    name: `headrace+${piece}`,
    kind: 'headrace',
    script: 'headrace',
    pieces: piece,
    asked: true,
  })),
  { name: 'fast-proxy', kind: 'peer' },
  { name: 'fastify-http-proxy', kind: 'peer' },
  { name: 'http-proxy', kind: 'peer' },
  { name: 'http-proxy-middleware4', kind: 'peer' },
  { name: 'http-proxy-middleware3', kind: 'peer' },
  { name: 'express-http-proxy', kind: 'peer' },
  { name: 'go-reverse-proxy', kind: 'native' },
  { name: 'nginx', kind: 'native' },
  { name: 'haproxy', kind: 'native' },
];

export const names = all.filter(({ baseline }) => !baseline).map(({ name }) => name);

/** The ones to run: those of `only`, or all; the baseline only when there is a build to run it from. */
export function contestants({ only, baseline }) {
  return all
    .filter(({ name, asked, baseline: isBaseline }) => {
      if (isBaseline) return baseline !== undefined;
      return only === undefined ? !asked : only.includes(name);
    })
    .filter(({ kind, name }) => {
      if (kind !== 'native' || isAvailable(name)) return true;
      console.error(`${name} is not installed here, so it is left out`);
      return false;
    })
    .map((contestant) => ({
      ...contestant,
      script: fileURLToPath(
        new URL(`../proxies/${contestant.script ?? contestant.name}.mjs`, import.meta.url),
      ),
      entry: contestant.baseline ? baseline : undefined,
    }));
}
