import { createHash, randomBytes } from 'node:crypto';
import { request, type ServerResponse } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { modifyResponse, proxyPass, sendResponse } from 'headrace';
import { canGiveBack, givenBack } from '../helpers/given-back.js';
import { appOf, closeAfter, type Middleware, serve } from '../helpers/servers.js';
import {
  type Ask,
  answered,
  fronts,
  localCertificate,
  upstreams,
  writeInPieces,
} from '../helpers/ways.js';

const MIB = 1_048_576;
/** No two parts of it are alike: what came twice, or in another place, is seen by the sum. */
const BODY = randomBytes(8 * MIB);

afterEach(() => {
  jest.restoreAllMocks();
});

const framings: Record<string, (res: ServerResponse, body: Buffer) => void> = {
  'with a length': (res, body) => {
    res.setHeader('Content-Length', body.length);
    writeInPieces(res, body);
  },
  'in chunks of any size': writeInPieces,
  'until the connection closes': (res, body) => {
    res.useChunkedEncodingByDefault = false;
    res.setHeader('Connection', 'close');
    writeInPieces(res, body);
  },
};

/** Reads a body, and stands still now and then. */
async function read(body: Readable): Promise<{ bytes: number; sum: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of body) {
    hash.update(chunk);
    bytes += chunk.length;
    if (Math.random() < 0.02) await setTimeout(3);
  }
  return { bytes, sum: hash.digest('hex') };
}

/** Asks for six bodies at once, each of them another part of all, and expects each to come as it was. */
async function expectAll(
  [front, upstream, framing]: readonly [string, string, string],
  ...before: Middleware[]
): Promise<void> {
  const answer = framings[framing] as (res: ServerResponse, body: Buffer) => void;
  const parts = Array.from({ length: 6 }, (_, i) => BODY.subarray(i * MIB, (i + 2) * MIB + i));
  let next = 0;
  const url = await upstreams[upstream]?.((_req, res) => answer(res, parts[next++] as Buffer));
  const { cert } = await localCertificate();
  const pass = proxyPass(url as string, { tls: { ca: cert }, http2: true });
  closeAfter(() => pass.close());
  const ask = await fronts[front]?.(appOf('connect', ...before, pass));
  const bodies = await Promise.all(parts.map(async () => read(await (ask as Ask)())));
  const sums = (all: readonly { sum: string }[]) => all.map(({ sum }) => sum).sort();
  expect(sums(bodies)).toEqual(
    sums(parts.map((part) => ({ sum: createHash('sha256').update(part).digest('hex') }))),
  );
}

const ways = Object.keys(fronts).flatMap((front) =>
  Object.keys(upstreams).flatMap((upstream) =>
    Object.keys(framings).map((framing) => [front, upstream, framing] as const),
  ),
);
const possible = ways.filter(
  ([, upstream, framing]) => upstream !== 'HTTP/2' || framing === 'with a length',
);

describe('large bodies', () => {
  it.each(possible)('come whole over %s from an upstream of %s, %s', (...way) => expectAll(way));

  it('give their memory back when they have been written, where Node can', async () => {
    const given = givenBack();
    await expectAll(['HTTP', 'HTTP', 'with a length']);
    if (!canGiveBack) return;
    // The last read of each body is left, and what came while the client was slow.
    expect(given.bytes).toBeGreaterThan(4 * MIB);
  });

  it.each([
    ['an edit that reads', modifyResponse((response) => response.pipeThrough(new PassThrough()))],
    ['middleware with a write of its own', keepsChunks],
  ])('leave it alone under %s', async (_what, middleware) => {
    const given = givenBack();
    await expectAll(['HTTP', 'HTTP', 'with a length'], middleware);
    expect(given.times).toBe(0);
  });

  it('leave what comes over HTTP/2 alone, where reads belong to several streams', async () => {
    const given = givenBack();
    await expectAll(['HTTP', 'HTTP/2', 'with a length']);
    expect(given.times).toBe(0);
  });

  it.each([
    ['HTTP', 'until the connection closes'],
    ['HTTPS', 'until the connection closes'],
    ['HTTP', 'with a length'],
    ['HTTPS', 'in chunks of any size'],
  ])('come whole when their connection (%s) ends before anybody takes them, %s', async (...way) => {
    const [upstream, framing] = way;
    for (const length of [70_000, 131_072, 200_000]) {
      const body = BODY.subarray(0, length);
      const url = await upstreams[upstream]?.((_req, res) => {
        res.setHeader('Connection', 'close');
        framings[framing]?.(res, body);
      });
      const { cert } = await localCertificate();
      const pass = proxyPass(url as string, { tls: { ca: cert }, hold: true });
      closeAfter(() => pass.close());
      const later: Middleware = (_req, _res, next) => void setTimeout(50).then(next);
      const ask = await fronts.HTTP?.(appOf('connect', pass, later, sendResponse()));
      const { sum } = await read((await ask?.()) as Readable);
      expect(sum).toBe(createHash('sha256').update(body).digest('hex'));
    }
  });

  it('are not cut short or mixed up when clients leave in the middle', async () => {
    const { url } = await serve((_req, res) => framings['in chunks of any size']?.(res, BODY));
    const pass = proxyPass(url);
    closeAfter(() => pass.close());
    const { url: gateway } = await serve(appOf('connect', pass));
    const whole = createHash('sha256').update(BODY).digest('hex');
    const all = Array.from({ length: 16 }, async (_, i) => {
      const body = await answered(request(gateway, { agent: false }));
      if (i % 2 === 0) return expect(await read(body)).toEqual({ bytes: BODY.length, sum: whole });
      for await (const _chunk of body) if (Math.random() < 0.05) break;
    });
    await Promise.all(all);
  });
});

/** Has a write of its own on the answer, and looks at the chunks when all have been written. */
function keepsChunks(_req: unknown, res: ServerResponse, next: () => void): void {
  const chunks: Buffer[] = [];
  const { write } = res;
  res.write = (chunk: Buffer, ...rest: never[]): boolean => {
    chunks.push(chunk);
    return Reflect.apply(write, res, [chunk, ...rest]);
  };
  res.once('finish', () => expect(chunks.every(({ length }) => length > 0)).toBe(true));
  next();
}
