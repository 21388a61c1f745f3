import { fileURLToPath } from 'node:url';

/** Everything that can be measured. What is optional runs only when an option asks for it. */
const all = [
  { name: 'floor-node', kind: 'floor' },
  { name: 'floor-express', kind: 'floor' },
  { name: 'headrace', kind: 'headrace' },
  { name: 'headrace-baseline', kind: 'headrace', script: 'headrace', optional: true },
  { name: 'fast-proxy', kind: 'peer' },
  { name: 'fastify-http-proxy', kind: 'peer' },
  { name: 'http-proxy', kind: 'peer' },
  { name: 'http-proxy-middleware4', kind: 'peer' },
  { name: 'http-proxy-middleware3', kind: 'peer' },
  { name: 'express-http-proxy', kind: 'peer' },
];

export const names = all.filter(({ optional }) => !optional).map(({ name }) => name);

/** The ones to run: those of `only`, or all; the baseline only when there is a build to run it from. */
export function contestants({ only, baseline }) {
  return all
    .filter(({ name, optional }) =>
      optional ? baseline !== undefined : only === undefined || only.includes(name),
    )
    .map((contestant) => ({
      ...contestant,
      script: fileURLToPath(
        new URL(`../proxies/${contestant.script ?? contestant.name}.mjs`, import.meta.url),
      ),
      entry: contestant.optional ? baseline : undefined,
    }));
}
