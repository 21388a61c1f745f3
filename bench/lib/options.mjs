import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { cases } from './cases.mjs';
import { names } from './contestants.mjs';

export const usage = `Usage: npm run bench -- [options]

  --case a,b      ${cases.map(({ name }) => name).join(', ')}                          (default: all)
  --only a,b      proxies to measure                          (default: all)
  --baseline dir  another build of headrace to measure beside this one: a folder with esm/index.js
  --rounds n      how often each proxy is visited             (default: 5)
  --seconds s     length of each measurement                  (default: 3)
  --warmup s      load before each measurement                (default: 2)
  --cores p,l     core of the proxy, core of load and nginx   (default: 0,1)
  --node path     Node binary for the proxies                 (default: Node 24, installed on demand)
  --json file     write every sample and the summary
  --quick         --rounds 3 --seconds 2

Proxies: ${names.join(', ')}
`;

/** Reads the command line. Throws a sentence when something in it makes no sense. */
export function readOptions(argv) {
  const { values } = parseArgs({
    args: argv,
    options: {
      baseline: { type: 'string' },
      case: { type: 'string', default: cases.map(({ name }) => name).join(',') },
      cores: { type: 'string', default: '0,1' },
      help: { type: 'boolean', default: false },
      json: { type: 'string' },
      node: { type: 'string' },
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      warmup: { type: 'string' },
    },
  });
  const cores = values.cores.split(',').map((text) => wholeNumber('--cores', text, 0));
  if (cores.length !== 2) throw new Error('--cores takes two numbers: proxy,load');

  return {
    help: values.help,
    cases: list(
      '--case',
      values.case,
      cases.map(({ name }) => name),
    ),
    only: values.only === undefined ? undefined : list('--only', values.only, names),
    baseline: values.baseline && pathToFileURL(resolve(values.baseline, 'esm/index.js')).href,
    rounds: wholeNumber('--rounds', values.rounds ?? (values.quick ? '3' : '5'), 1),
    // wrk knows whole seconds only.
    seconds: wholeNumber('--seconds', values.seconds ?? (values.quick ? '2' : '3'), 1),
    warmup: wholeNumber('--warmup', values.warmup ?? '2', 0),
    proxyCore: cores[0],
    loadCore: cores[1],
    node: values.node,
    json: values.json,
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
