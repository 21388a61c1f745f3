import { parseArgs } from 'node:util';
import { cases, usual } from './cases.mjs';
import { names } from './contestants.mjs';
import { guardOptions } from './guard.mjs';
import { buildIn } from './tools.mjs';

export const usage = `Usage: npm run bench -- [options]

  --case a,b      cases to measure, or "all"                  (default: ${usual.join(',')})
  --only a,b      proxies to measure                          (default: all)
  --baseline dir  another build of headrace to measure beside this one: a folder with esm/index.js
  --fresh n       how often all proxies are started anew      (default: 2)
  --rounds n      bursts for each proxy after each start      (default: 6)
  --seconds s     length of a burst                           (default: 1)
  --warmup s      load for each proxy after each start        (default: 3)
  --rate n        requests a second in the case latency       (default: half of what the slowest takes)
  --cores p,l     core of the proxies, core of load and upstream (default: 0,1)
  --node path     Node binary for proxies, load and upstream  (default: Node 24, installed on demand)
  --json file     write every sample and the verdicts
  --svg file      draw the first case that is measured
  --quick         --fresh 1 --rounds 5
  --guard         measure what the guard watches, and end with 1 when headrace became slower, with 75 when the
                  machine is too noisy to tell

Cases: ${Object.keys(cases).join(', ')}
Proxies: ${names.join(', ')}
`;

/** Reads the command line. Throws a sentence when something in it makes no sense. */
export function readOptions(argv) {
  const { values } = parseArgs({
    args: argv,
    options: {
      baseline: { type: 'string' },
      case: { type: 'string' },
      cores: { type: 'string', default: '0,1' },
      fresh: { type: 'string' },
      guard: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      json: { type: 'string' },
      node: { type: 'string' },
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      rate: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string', default: '1' },
      svg: { type: 'string' },
      warmup: { type: 'string', default: '3' },
    },
  });
  const { help, guard, quick, node, json, svg } = values;
  const cores = values.cores.split(',').map((text) => wholeNumber('--cores', text, 0));
  if (cores.length !== 2) throw new Error('--cores takes two numbers: proxy,load');

  return {
    help,
    guard,
    ...subjects(values),
    baseline: buildIn(values.baseline),
    fresh: wholeNumber('--fresh', values.fresh ?? (quick ? '1' : '2'), 1),
    rounds: wholeNumber('--rounds', values.rounds ?? (quick ? '5' : '6'), 1),
    // wrk knows whole seconds only.
    seconds: wholeNumber('--seconds', values.seconds, 1),
    warmup: wholeNumber('--warmup', values.warmup, 0),
    rate: values.rate === undefined ? undefined : wholeNumber('--rate', values.rate, 1),
    proxyCore: cores[0],
    loadCore: cores[1],
    node,
    json,
    svg,
  };
}

function subjects({ case: chosen, only, guard }) {
  if (guard) {
    if (chosen ?? only) throw new Error('--guard chooses cases and proxies itself');
    return guardOptions;
  }
  const known = Object.keys(cases);
  return {
    cases: chosen === 'all' ? known : list('--case', chosen ?? usual.join(','), known),
    only: only === undefined ? undefined : list('--only', only, names),
  };
}

function list(option, text, allowed) {
  const items = text.split(',').filter(Boolean);
  for (const item of items) {
    if (!allowed.includes(item))
      throw new Error(`${option}: unknown "${item}", know ${allowed.join(', ')}`);
  }
  return items;
}

function wholeNumber(option, text, least) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least) {
    throw new Error(`${option} must be a whole number of at least ${least}, received "${text}"`);
  }
  return value;
}
