import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import {
  forwardAuth,
  loadBalancer,
  proxyPass,
  type RateLimitStore,
  rateLimiter,
  UpstreamPool,
} from 'headrace';
import { rawRequest } from './helpers/client.js';
import { http2Upstream } from './helpers/http2.js';
import { closeAfter, gateway, type Middleware, OK, rawUpstream } from './helpers/servers.js';
import { eventually } from './helpers/settled.js';

const GET = 'GET / HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n';
const LIMIT_MS = 100;

/** Keeps the process from doing anything else for longer than any of the limits. */
function standStill(): void {
  for (const until = performance.now() + 3 * LIMIT_MS; performance.now() < until; );
}

/** An upstream whose answer is on its way when the process comes to a standstill. */
async function promptUpstream(): Promise<string> {
  const { url } = await rawUpstream((_request, socket) => {
    socket.write(OK);
    standStill();
    return undefined;
  });
  return url;
}

/** A store that has counted in time, and says so when the process goes on. */
function promptStore(): RateLimitStore {
  const info = { totalHits: 1, resetTime: new Date(Date.now() + 60_000) };
  return {
    increment: () =>
      new Promise((resolve) => {
        setImmediate(() => {
          // Known to another thread by the end of the standstill.
          randomBytes(1, () => resolve(info));
          standStill();
        });
      }),
    decrement: () => {},
    resetKey: () => {},
  };
}

describe('what has come while the process stood still has come in time', () => {
  const ways: [string, () => Promise<Middleware[]>][] = [
    [
      'the head of an answer over HTTP/1.1',
      async () => [proxyPass(await promptUpstream(), { headersTimeoutMs: LIMIT_MS })],
    ],
    [
      'the head of an answer over HTTP/2',
      async () => {
        const { port } = await http2Upstream((stream) => {
          stream.end('ok');
          process.nextTick(standStill);
        });
        const options = { http2: 'prior-knowledge', headersTimeoutMs: LIMIT_MS } as const;
        return [proxyPass(`http://127.0.0.1:${port}`, options)];
      },
    ],
    [
      "the count of a rate limiter's store",
      async () => [
        rateLimiter({ limit: 9, windowMs: 60_000, store: promptStore(), storeTimeoutMs: LIMIT_MS }),
        proxyPass((await rawUpstream()).url),
      ],
    ],
    [
      'the yes of who is asked by forwardAuth()',
      async () => [
        forwardAuth({ url: await promptUpstream(), timeoutMs: LIMIT_MS }),
        proxyPass((await rawUpstream()).url),
      ],
    ],
  ];

  it.each(ways)('%s', async (_what, pieces) => {
    const { port } = await gateway('express 5', ...(await pieces()));
    expect((await rawRequest(port, GET)).status).toBe(200);
  });

  it('a sign of health', async () => {
    const pool = new UpstreamPool([await promptUpstream()], {
      health: {
        active: { path: '/', timeoutMs: LIMIT_MS, intervalMs: 1_000, unhealthyAfter: 1 },
      },
    });
    closeAfter(() => pool.close());
    const { port } = await gateway('express 5', loadBalancer({ upstreams: pool }), proxyPass());
    await eventually('a probe', () => pool.stats()[0]?.usable === true);
    await new Promise((resolve) => setTimeout(resolve, 4 * LIMIT_MS));
    expect((await rawRequest(port, GET)).status).toBe(200);
  });
});
