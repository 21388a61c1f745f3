import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import {
  consistentHash,
  exchangeOf,
  ipHash,
  leastConnections,
  peakEwma,
  powerOfTwo,
  random,
  roundRobin,
  weightedRoundRobin,
} from '../../dist/esm/index.js';

const key = { header: 'x-client' };

/** Every strategy: how to make one from a source of randomness and a clock. */
export const strategies = {
  'round-robin': () => roundRobin(),
  'weighted-round-robin': () => weightedRoundRobin(),
  random: (source) => random({ random: source }),
  'least-connections': () => leastConnections(),
  'power-of-two': (source) => powerOfTwo({ random: source }),
  'peak-ewma': (source, now) => peakEwma({ random: source, now }),
  'consistent-hash': () => consistentHash({ key }),
  'consistent-hash, bounded': () => consistentHash({ key, boundedLoad: 1.25 }),
  'ip-hash': () => ipHash(),
};

/** The exchange of a client: what strategies look at, its address and a header, and no connection. */
export function exchangeOfClient(number) {
  const socket = new Socket();
  const remoteAddress = `10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`;
  Object.defineProperty(socket, 'remoteAddress', { value: remoteAddress });
  const req = new IncomingMessage(socket);
  req.headers['x-client'] = `client-${number}`;
  return exchangeOf(req, new ServerResponse(req));
}

/** Random numbers from 0 to 1 that are the same in every run: mulberry32. */
export function seeded(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Rows as a Markdown table, first column left, the others right. */
export function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, i) => (i === 0 ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}
