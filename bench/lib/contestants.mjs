import { fileURLToPath } from 'node:url';
import { isAvailable } from './native.mjs';

/** Pieces that can be added to headrace's pipeline, each a contestant of its own. */
const single = [
  'concurrencyLimit',
  'rateLimiter',
  'retry',
  'fallback',
  'accessLog',
  'metrics',
  'requestId',
  'tracing',
];

/**
 * Everything that can be measured. The baseline runs only when there is one, and what is `asked` only when
 * `--only` or a case names it. `env` is for the script.
 */
const all = [
  { name: 'floor-node', kind: 'floor' },
  { name: 'floor-express', kind: 'floor' },
  { name: 'floor-sockets', kind: 'floor', asked: true },
  { name: 'floor-express-again', kind: 'floor', script: 'floor-express', asked: true },
  { name: 'headrace', kind: 'headrace' },
  { name: 'headrace-baseline', kind: 'headrace', script: 'headrace', baseline: true },
  headraceWith('seven', { BENCH_PIECES: 'circuitBreaker' }),
  headraceWith('observed', { BENCH_PIECES: 'circuitBreaker,accessLog,metrics,statusPage' }),
  { ...headraceWith('attach', { BENCH_ATTACH: 'yes' }), asked: true },
  { ...headraceWith('10000', { BENCH_UPSTREAMS: '10000' }), asked: true },
  ...single.map((piece) => ({
    name: `headrace+${piece}`,
    kind: 'headrace',
    script: 'headrace',
    env: { BENCH_PIECES: piece },
    asked: true,
  })),
  { name: 'fast-proxy', kind: 'peer' },
  { name: 'fastify-http-proxy', kind: 'peer' },
  { name: 'httpxy', kind: 'peer' },
  { name: 'http-proxy', kind: 'peer' },
  { name: 'http-proxy-middleware4', kind: 'peer' },
  { name: 'http-proxy-middleware3', kind: 'peer' },
  { name: 'express-http-proxy', kind: 'peer' },
  { name: 'go-reverse-proxy', kind: 'native' },
  { name: 'nginx', kind: 'native' },
  { name: 'haproxy', kind: 'native' },
];

export const names = all.filter(({ baseline }) => !baseline).map(({ name }) => name);

/** The ones that may run: those of `only`, or all; the baseline only when there is a build to run it from. */
export function select({ only, baseline }) {
  return all
    .filter(({ name, baseline: isBaseline }) => {
      if (isBaseline) return baseline !== undefined;
      return only === undefined || only.includes(name);
    })
    .filter(({ kind, name }) => kind !== 'native' || isAvailable(name))
    .map((contestant) => prepared(contestant, { only, baseline }));
}

/** Those of them that a case is for. */
export function entrants(selected, { who, load }) {
  const chosen = selected.filter(({ name, asked }) => (who ? who.includes(name) : !asked));
  // What the generator itself takes: the upstream without a proxy.
  return load === 'fixed-rate' && chosen.length > 0
    ? [...chosen, { name: 'no-proxy', kind: 'none' }]
    : chosen;
}

function headraceWith(name, env) {
  return { name: `headrace-${name}`, kind: 'headrace', script: 'headrace', env };
}

function prepared(contestant, { only, baseline }) {
  const { name, script = name, env } = contestant;
  return {
    ...contestant,
    asked: contestant.asked && !only?.includes(name),
    script: fileURLToPath(new URL(`../proxies/${script}.mjs`, import.meta.url)),
    env: contestant.baseline ? { BENCH_HEADRACE: baseline } : env,
  };
}
