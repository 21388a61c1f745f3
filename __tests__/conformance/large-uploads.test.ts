import { createHash, randomBytes } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage, RequestListener } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { type LoadBalancer, loadBalancer, proxyPass, retry } from 'headrace';
import { canGiveBack, givenBack } from '../helpers/given-back.js';
import { appOf, closeAfter, type Middleware } from '../helpers/servers.js';
import { type Ask, fronts, localCertificate, upstreams } from '../helpers/ways.js';

const MIB = 1_048_576;
/** No two parts of it are alike: what came twice, or in another place, is seen by the sum. */
const BODY = randomBytes(8 * MIB);

afterEach(() => {
  jest.restoreAllMocks();
});

function sumOf(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex');
}

/** Answers with the sum of the upload, which it reads with pauses. */
const summing: RequestListener = async (req, res) => {
  const hash = createHash('sha256');
  for await (const chunk of req) {
    hash.update(chunk);
    if (Math.random() < 0.02) await setTimeout(3);
  }
  res.end(hash.digest('hex'));
};

/** Sends six bodies at once, each of them another part of all, and expects each to arrive as it was. */
async function expectAll(
  [front, upstream, framing]: readonly [string, string, string],
  ...before: Middleware[]
): Promise<void> {
  const url = (await upstreams[upstream]?.(summing)) as string;
  const { cert } = await localCertificate();
  const pass = proxyPass({ tls: { ca: cert }, http2: true });
  const app = appOf('connect', balancerOf(url), ...before, pass);
  const ask = (await fronts[front]?.(app)) as Ask;
  const parts = Array.from({ length: 6 }, (_, i) => BODY.subarray(i * MIB, (i + 2) * MIB + i));
  const sums = await Promise.all(
    parts.map(async (body) => text(await ask({ body, sized: framing === 'with a length' }))),
  );
  expect(sums).toEqual(parts.map(sumOf));
}

function balancerOf(url: string): LoadBalancer {
  const balancer = loadBalancer({ upstreams: [url] });
  closeAfter(() => balancer.close());
  return balancer;
}

const ways = Object.keys(fronts).flatMap((front) =>
  Object.keys(upstreams).flatMap((upstream) =>
    ['with a length', 'without'].map((framing) => [front, upstream, framing] as const),
  ),
);

const FROM_HTTP = ['HTTP', 'HTTP', 'with a length'] as const;

describe('large uploads', () => {
  it.each(ways)('arrive whole over %s at an upstream of %s, %s', (...way) => expectAll(way));

  it.each([FROM_HTTP, ['HTTPS', 'HTTPS', 'without'] as const])(
    'give their memory back when they have been written, where Node can: %s to %s, %s',
    async (...way) => {
      const given = givenBack();
      await expectAll(way);
      if (canGiveBack) expect(given.bytes).toBeGreaterThan(8 * MIB);
    },
  );

  it.each([
    ['a listener', keepsBy((req, keep) => req.on('data', keep))],
    ['a listener that hears once, and before', keepsBy((req, keep) => req.once('data', keep))],
    [
      'a reader',
      keepsBy((req, keep) => {
        const readAll = (): void => {
          for (let chunk = req.read(); chunk !== null; chunk = req.read()) keep(chunk);
        };
        // Earlier, it would take what nobody else listens for yet.
        req.once('data', () => req.on('readable', readAll));
      }),
    ],
    [
      'an emit of its own',
      keepsBy((req, keep) => {
        const { emit } = req;
        req.emit = (event: string, ...args: unknown[]) => {
          if (event === 'data') keep(args[0] as Buffer);
          return Reflect.apply(emit, req, [event, ...args]);
        };
      }),
    ],
    [
      'a push of its own',
      keepsBy((req, keep) => {
        const { push } = req;
        req.push = (chunk: Buffer | null) => {
          if (chunk !== null) keep(chunk);
          return push.call(req, chunk);
        };
      }),
    ],
  ])('leave it alone under middleware with %s', async (_what, middleware) => {
    const given = givenBack();
    await expectAll(FROM_HTTP, middleware);
    expect(given.times).toBe(0);
  });

  it.each(['latin1', 'hex', 'base64'] as const)(
    'arrive whole when somebody has asked for them as text: %s',
    async (encoding) => {
      const asks: Middleware = (req: IncomingMessage, _res: unknown, next: () => void) => {
        req.setEncoding(encoding);
        next();
      };
      await expectAll(FROM_HTTP, asks);
      await expectAll(['HTTP', 'HTTP', 'without'], asks);
    },
  );

  it('leave it alone when they are kept for another try', async () => {
    const given = givenBack();
    const piece = retry({ bufferBodyBytes: 4 * MIB, methods: ['POST'] });
    await expectAll(FROM_HTTP, piece as Middleware);
    expect(given.times).toBe(0);
  });

  it('are sent again as they were', async () => {
    let tries = 0;
    const url = await upstreams.HTTP?.((req, res) => {
      if (tries++ === 0) req.on('end', () => req.socket.destroy()).resume();
      else summing(req, res);
    });
    const piece = retry({ bufferBodyBytes: 4 * MIB, methods: ['POST'] });
    const ask = (await fronts.HTTP?.(
      appOf('connect', balancerOf(url as string), piece, proxyPass()),
    )) as Ask;
    const body = BODY.subarray(0, 3 * MIB);
    expect(await text(await ask({ body, sized: true }))).toBe(sumOf(body));
    expect(tries).toBe(2);
  });

  it('leave it alone when somebody is shown what undici sends', async () => {
    const chunks: Buffer[] = [];
    const see = (message: unknown): void => {
      chunks.push((message as { chunk: Buffer }).chunk);
    };
    subscribe('undici:request:bodyChunkSent', see);
    closeAfter(() => unsubscribe('undici:request:bodyChunkSent', see));
    const given = givenBack();
    await expectAll(FROM_HTTP);
    expect(given.times).toBe(0);
    expect(chunks.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan(12 * MIB);
  });

  it('leave alone what comes over HTTP/2, where reads belong to several streams', async () => {
    const given = givenBack();
    await expectAll(['HTTP/2', 'HTTP', 'with a length']);
    expect(given.times).toBe(0);
  });

  it('that an upstream refuses in the middle do not disturb those behind them', async () => {
    const url = await upstreams.HTTP?.((req, res) => {
      if (req.headers['content-length'] !== `${MIB}`) summing(req, res);
      else res.writeHead(413, { Connection: 'close' }).end('too large');
    });
    const pass = proxyPass(url as string, { connections: 2 });
    closeAfter(() => pass.close());
    const ask = (await fronts.HTTP?.(appOf('connect', pass))) as Ask;
    const answers = await Promise.all(
      Array.from({ length: 24 }, async (_, i) => {
        const body = i % 3 === 0 ? BODY.subarray(0, MIB) : BODY.subarray(i, MIB / 2 + 2 * i);
        const answer = await text(await ask({ body, sized: true }));
        return i % 3 === 0 ? answer === 'too large' : answer === sumOf(body);
      }),
    );
    expect(answers).toEqual(answers.map(() => true));
  });
});

/** Middleware that keeps what comes of an upload, and looks at it when all of it is there. */
function keepsBy(
  arrange: (req: IncomingMessage, keep: (chunk: Buffer) => void) => void,
): Middleware {
  return (req: IncomingMessage, res: IncomingMessage, next: () => void) => {
    const chunks: Buffer[] = [];
    arrange(req, (chunk) => chunks.push(chunk));
    req.pause();
    res.once('close', () => {
      expect(chunks.length).toBeGreaterThan(0);
      expect(chunks.every(({ length }) => length > 0)).toBe(true);
    });
    next();
  };
}
