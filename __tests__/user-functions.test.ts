import { describe, expect, it, jest } from '@jest/globals';
import {
  type Around,
  addressList,
  authenticate,
  authorize,
  basicAuth,
  bearerJwt,
  cache,
  circuitBreaker,
  concurrencyLimit,
  consistentHash,
  type Exchange,
  exchangeOf,
  forwardedFor,
  type Handler,
  loadBalancer,
  proxyErrors,
  proxyPass,
  rateLimiter,
  requestId,
  retry,
  rewriteUrl,
  tracing,
  type Upstream,
} from 'headrace';
import { inspect } from '../src/options.js';
import { rawRequest } from './helpers/client.js';
import { recordErrors } from './helpers/record-errors.js';
import { request } from './helpers/requests.js';
import { closeAfter, gateway, type Middleware, serve } from './helpers/servers.js';
import { eventually } from './helpers/settled.js';

// Whatever reaches uncaughtException or unhandledRejection fails the running test: Jest listens there.

/** A function of a user's, of whatever type it should have been. */
// biome-ignore lint/suspicious/noExplicitAny: it stands for functions that break their types
type Given = (...args: any[]) => any;

const asked = request('GET /', ['X-Forwarded-For: 192.0.2.1']);

const edit =
  (use: (exchange: Exchange) => void): Handler =>
  (req, res, next) => {
    use(exchangeOf(req, res));
    next?.();
  };

/** What asks a function of the user's, and how it says that it cannot use what came back. */
const askers: [
  name: string,
  pieces: (given: Given, url: string) => Middleware[],
  sentence: string,
][] = [
  [
    'a strategy',
    (given, url) => [loadBalancer({ upstreams: [url], strategy: { pick: given } }), proxyPass()],
    'loadBalancer: strategy.pick() must return one of the candidates, received ',
  ],
  [
    'a target',
    (given, url) => [proxyPass(given), proxyPass(url)],
    'proxyPass: target() must be an http(s) URL, received ',
  ],
  [
    'a rewrite',
    (given, url) => [rewriteUrl(given), proxyPass(url)],
    'rewriteUrl: the function must return a path, it returned ',
  ],
  [
    'the key of a limit',
    (given, url) => [concurrencyLimit({ limit: 1, per: given }), proxyPass(url)],
    'concurrencyLimit: per() must return a string, received ',
  ],
  [
    'the key of a circuit',
    (given, url) => [circuitBreaker({ per: given }), proxyPass(url)],
    'circuitBreaker: per() must return a string, received ',
  ],
  [
    'the key of an answer',
    (given, url) => [cache({ key: given }), proxyPass(url)],
    'cache: key() must return a string, received ',
  ],
  [
    'the key of a hash',
    (given, url) => [
      // Of one alone, none is chosen.
      loadBalancer({ upstreams: [url, `${url}/b`], strategy: consistentHash({ key: given }) }),
      proxyPass(),
    ],
    'consistentHash: key() must return a string or undefined, received ',
  ],
  [
    'the key of a client',
    (given, url) => [rateLimiter({ keyGenerator: given }), proxyPass(url)],
    'rateLimiter: keyGenerator() must return a string, received ',
  ],
  [
    'a name for a request',
    (given, url) => [requestId({ generate: given }), proxyPass(url)],
    'requestId: generate() must return 1 to 128 of the characters A-Z a-z 0-9 _ . ~ ',
  ],
  [
    'a wrapper of the call',
    (given, url) => [edit((exchange) => exchange.around(given as Around)), proxyPass(url)],
    'exchange.around(): a wrapper must return a response, such as that of send(), received ',
  ],
  [
    'a wrapper behind retry()',
    (given, url) => [
      retry(),
      edit((exchange) => exchange.aroundEach(given as Around)),
      proxyPass(url),
    ],
    'exchange.around(): a wrapper must return a response, such as that of send(), received ',
  ],
  [
    'trust in who has forwarded',
    (given, url) => [forwardedFor({ trust: given }), proxyPass(url)],
    'forwardedFor: trust() must return true or false, received ',
  ],
  [
    'trust in who names the client',
    (given, url) => [addressList({ allow: ['127.0.0.1'], trust: given }), proxyPass(url)],
    'addressList: trust() must return true or false, received ',
  ],
  [
    'trust in who begins a trace',
    (given, url) => [tracing({ trust: given, api: false }), proxyPass(url)],
    'tracing: trust() must return true or false, received ',
  ],
  [
    'exchange.path',
    (given, url) => [
      (req, res, next) => {
        try {
          exchangeOf(req, res).path = given();
        } catch (error) {
          return next(error);
        }
        next();
      },
      proxyPass(url),
    ],
    'exchange.path must be a string, received ',
  ],
  [
    'exchange.upstream',
    (given) => [
      edit((exchange) => {
        exchange.upstream = given() as Upstream;
      }),
      proxyPass(),
    ],
    'exchange.upstream must be an Upstream, such as new Upstream(url), received ',
  ],
];

describe.each(['express 5', 'node:http'] as const)('a function of a user, in %s,', (framework) => {
  it.each(askers)(
    '%s, that gives what it must not fails its own request',
    async (_, make, words) => {
      const { url } = await serve((_req, res) => res.end());
      for (const wrong of [() => 5, () => ({}), async () => 5]) {
        const { errors, record } = recordErrors();
        const { port } = await gateway(framework, ...make(wrong, url), record);
        expect((await rawRequest(port, asked)).status).toBe(500);
        expect(errors.map(({ message }) => message)).toEqual([expect.stringContaining(words)]);
      }
    },
  );

  it.each(askers.slice(0, -1))('%s, that throws fails its own request', async (_, make) => {
    const { url } = await serve((_req, res) => res.end());
    const { errors, record } = recordErrors();
    const own = new Error('of the user');
    const given = (): never => {
      throw own;
    };
    const { port } = await gateway(framework, ...make(given, url), record);
    expect((await rawRequest(port, asked)).status).toBe(500);
    expect(errors).toEqual([own]);
  });
});

/** What has a function of the user's decide whether a request may pass. */
const guards: [name: string, piece: (given: Given) => Handler][] = [
  ['a policy', (given) => authorize(given)],
  ['whom a limit leaves alone', (given) => rateLimiter({ skip: given })],
  ['a limit', (given) => rateLimiter({ limit: given })],
  ['the words of a refusal', (given) => rateLimiter({ limit: 0, message: given })],
  ['the answer to a refusal', (given) => rateLimiter({ limit: 0, handler: given })],
];

describe.each([0, '', false, 'route', 'router', undefined, null])('%p, thrown', (thrown) => {
  const given = (): never => {
    throw thrown;
  };

  /** Express and Connect would take it for success. */
  async function refuses(...pieces: Middleware[]): Promise<void> {
    const { errors, record } = recordErrors();
    const { port } = await gateway('express 5', ...pieces, record);
    expect((await rawRequest(port, asked)).status).toBe(500);
    expect(errors.map(({ message }) => message)).toEqual([`${inspect(thrown)} was thrown`]);
  }

  it.each(askers.slice(0, -2))('by %s, is an error like any other', async (_, make) => {
    const { url } = await serve((_req, res) => res.end());
    await refuses(...make(given, url));
  });

  it.each(guards)('or rejected with, by %s, lets nobody pass', async (_, guard) => {
    const { url } = await serve((_req, res) => res.end());
    await refuses(guard(given), proxyPass(url));
    await refuses(
      guard(async () => given()),
      proxyPass(url),
    );
  });
});

describe('an async function where another one is wanted', () => {
  const rejects = async (): Promise<never> => Promise.reject(new Error('of the user'));
  const impatient = askers.filter(
    ([name]) => !name.startsWith('a wrapper') && name !== 'the key of a client',
  );

  it.each(impatient)('%s, that rejects does not bring the process down', async (_, make, words) => {
    const { url } = await serve((_req, res) => res.end());
    const { errors, record } = recordErrors();
    const { port } = await gateway('express 5', ...make(rejects, url), record);
    expect((await rawRequest(port, asked)).status).toBe(500);
    expect(errors.map(({ message }) => message)).toEqual([expect.stringContaining(words)]);
  });
});

/** Ways in which a function fails that nothing depends on. */
const failures: [how: string, given: Given][] = [
  [
    'throws',
    () => {
      throw new Error('of the user');
    },
  ],
  ['rejects', async () => Promise.reject(new Error('of the user'))],
];

/** What is told something and asked nothing: its pieces, the answer without it, and its name in warnings. */
const listeners: [
  name: string,
  pieces: (given: Given, url: string) => Middleware[],
  status: number,
  warning: string,
][] = [
  [
    'the log of errors',
    (log) => [proxyPass('http://127.0.0.1:1'), proxyErrors({ log })],
    502,
    'proxyErrors: log() threw',
  ],
  [
    'the log of refusals',
    (log) => [authenticate(basicAuth({ users: { ada: 'lovelace' } }), { log }), proxyErrors()],
    401,
    'authenticate: log() threw',
  ],
  [
    'the log of keys that do not come',
    (onError) => {
      const jwks = { onError };
      const jwksUrl = 'http://127.0.0.1:1/';
      return [authenticate(bearerJwt({ algorithms: ['ES256'], jwksUrl, jwks })), proxyErrors()];
    },
    503,
    'bearerJwt: jwks.onError() threw',
  ],
  [
    'the observation of a strategy',
    (observe, url) => {
      const strategy = { pick: ([first]: readonly Upstream[]) => first, observe };
      return [loadBalancer({ upstreams: [url], strategy }), proxyPass()];
    },
    200,
    'loadBalancer: strategy.observe() threw',
  ],
  [
    'a listener of onOutcome()',
    (listener, url) => [edit((exchange) => exchange.onOutcome(listener)), proxyPass(url)],
    200,
    'A listener of exchange.onOutcome() threw',
  ],
];

const token = ['{"alg":"ES256","kid":"a"}', '{}', 'signature']
  .map((part) => Buffer.from(part).toString('base64url'))
  .join('.');

describe.each(listeners)('%s', (_, pieces, status, warning) => {
  it.each(failures)('that %s touches no request, and is warned of', async (_how, given) => {
    const { url } = await serve((_req, res) => res.end());
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    closeAfter(() => warn.mockRestore());
    const { port } = await gateway('express 5', ...pieces(given, url));
    const asking = request('GET /', status === 503 ? [`Authorization: Bearer ${token}`] : []);
    expect((await rawRequest(port, asking)).status).toBe(status);
    await eventually('a warning', () => warn.mock.calls.length > 0);
    const detail = expect.stringContaining('of the user');
    expect(warn.mock.calls).toEqual([[warning, expect.objectContaining({ detail })]]);
  });
});

describe('a listener of onOutcome()', () => {
  it.each(failures)('that %s does not keep the others from being called', async (_, listener) => {
    const { url } = await serve((_req, res) => res.end());
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    closeAfter(() => warn.mockRestore());
    let called = 0;
    const listen = edit((exchange) => {
      exchange.onOutcome(listener);
      exchange.onOutcome(() => (called += 1));
    });
    const { port } = await gateway('express 5', listen, proxyPass(url));
    expect((await rawRequest(port, request('GET /'))).status).toBe(200);
    await eventually('a warning', () => warn.mock.calls.length === 1);
    expect(warn.mock.calls[0]?.[0]).toBe('A listener of exchange.onOutcome() threw');
    expect(called).toBe(1);
  });
});
