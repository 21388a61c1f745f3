import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse,
} from 'node:http';
import connect from 'connect';
import express from 'express';
import express4 from 'express4';
import * as headrace from 'headrace';
import type { Agent } from 'undici';

/** What users may write, and what the compiler must not let them write. `types.test.ts` compiles it. */

/** Fails to compile unless the two types are the same. */
function same<A, B>(
  ..._: (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? [] : [never]
): void {}

function mounting(): void {
  const handlers = [
    headrace.stripHopHeaders(),
    headrace.forwardedFor(),
    headrace.rewriteUrl({ '^/api': '' }),
    headrace.loadBalancer({ upstreams: ['http://a', new URL('http://b'), { url: 'http://c' }] }),
    headrace.modifyResponse(() => {}),
    headrace.cache(),
    headrace.rewriteRedirects(),
    headrace.rewriteCookies({ domain: false }),
    headrace.proxyPass('http://a'),
    headrace.sendResponse(),
    headrace.reverseProxy('http://a'),
  ];
  const app = express();
  app.use(...handlers);
  app.use('/api', ...handlers, headrace.proxyErrors());
  app.get('/one', headrace.proxyPass('http://a'));
  app.use(headrace.proxyErrors());
  const app4 = express4();
  app4.use('/api', ...handlers, headrace.proxyErrors());
  const plain = connect();
  for (const handler of handlers) plain.use(handler);
  plain.use('/api', headrace.reverseProxy('http://a'));
  plain.use(headrace.proxyErrors());
  headrace.reverseProxy('http://a') satisfies RequestListener;
}

function exchangeInExpress(): express.RequestHandler {
  return (req, res, next) => {
    const { proxy } = res.locals;
    same<typeof proxy, headrace.Exchange>();
    proxy.headers.set('X-A', 'a').append('X-B', 'b').delete('X-C');
    proxy.method = 'POST';
    proxy.path = '/other';
    same<typeof proxy.upstream, headrace.Upstream | undefined>();
    same<typeof proxy.response, headrace.UpstreamResponse | undefined>();
    same<typeof proxy.attempts, headrace.Attempt[]>();
    proxy.around(async (exchange, send) => {
      same<typeof exchange, headrace.Exchange>();
      const response = await send();
      same<typeof response, headrace.UpstreamResponse>();
      return response;
    });
    proxy.around(async () => new headrace.UpstreamResponse({ status: 200, body: { a: 1 } }));
    proxy.onResponse((response, request, answer) => {
      same<typeof response, headrace.UpstreamResponse>();
      same<typeof request, IncomingMessage>();
      same<typeof answer, ServerResponse>();
    });
    proxy.onOutcome(({ outcome }) => {
      same<typeof outcome.type, 'completed' | 'failed' | 'client-closed' | 'upgraded'>();
    });
    const ended = ({ outcome }: headrace.SettledExchange): string => outcome.type;
    proxy.onOutcome(ended);
    const whenever = ({ outcome }: headrace.Exchange): string | undefined => outcome?.type;
    proxy.onOutcome(whenever);
    // @ts-expect-error: while it goes on, an exchange has no outcome
    ended(proxy);
    same<ReturnType<typeof headrace.exchangeOf>, typeof proxy>();
    headrace.exchangeOf(req, res).upstream = new headrace.Upstream('http://a');
    // @ts-expect-error: the list of attempts is not for others to replace
    proxy.attempts = [];
    // @ts-expect-error: a wrapper gives a promise of a response
    proxy.around(() => 5);
    next();
  };
}

function statusOf(error: headrace.ProxyErrorCode): number {
  switch (error) {
    case 'ERR_PROXY_CONNECT':
    case 'ERR_PROXY_RESET':
    case 'ERR_PROXY_BAD_RESPONSE':
    case 'ERR_PROXY_MODIFY_RESPONSE':
    case 'ERR_PROXY_UPGRADE':
      return 502;
    case 'ERR_PROXY_CONNECT_TIMEOUT':
    case 'ERR_PROXY_HEADERS_TIMEOUT':
    case 'ERR_PROXY_BODY_TIMEOUT':
      return 504;
    case 'ERR_PROXY_NO_UPSTREAM':
    case 'ERR_PROXY_CIRCUIT_OPEN':
    case 'ERR_PROXY_OVERLOADED':
    case 'ERR_PROXY_AUTH_UNAVAILABLE':
    case 'ERR_PROXY_RATE_LIMIT_STORE':
      return 503;
    case 'ERR_PROXY_RATE_LIMITED':
      return 429;
    case headrace.ProxyErrorCode.ERR_PROXY_BODY_TOO_LARGE:
      return 413;
    case 'ERR_PROXY_FORBIDDEN':
    case headrace.ProxyErrorCode.ERR_PROXY_FORBIDDEN_TARGET:
      return 403;
    case 'ERR_PROXY_UNAUTHORIZED':
      return 401;
    case 'ERR_PROXY_LOOP':
      return 508;
    case 'ERR_PROXY_BAD_REQUEST':
      return 400;
    case 'ERR_PROXY_BODY_CONSUMED':
    case 'ERR_PROXY_NO_TARGET':
      return 500;
    case 'ERR_PROXY_CLIENT_CLOSED':
      return 499;
    default:
      same<typeof error, never>();
      return error;
  }
}

function narrowing(error: headrace.LoopError | headrace.BodyTimeoutError, any: unknown): void {
  switch (error.code) {
    case 'ERR_PROXY_LOOP':
      same<typeof error, headrace.LoopError>();
      break;
    case 'ERR_PROXY_BODY_TIMEOUT':
      same<typeof error, headrace.BodyTimeoutError>();
      break;
    // @ts-expect-error: none of the two has this code
    case 'ERR_PROXY_RESET':
      break;
  }
  if (headrace.isProxyError(any)) {
    same<typeof any, headrace.ProxyError>();
    same<typeof any.code, headrace.ProxyErrorCode>();
    same<typeof any.expose, false>();
    // @ts-expect-error: no such code
    any.code === 'ERR_PROXY_NONE';
  }
}

function options(maybe: undefined, dispatcher: Agent): void {
  headrace.stripHopHeaders({ keep: maybe, also: ['x-a'] as const });
  headrace.forwardedFor({ trust: maybe, headers: maybe, via: maybe });
  headrace.forwardedFor({ trust: (address, hop) => address === '::1' && hop > 0, via: false });
  headrace.loadBalancer({ upstreams: [], strategy: maybe });
  headrace.modifyResponse(
    async (response) => {
      same<Awaited<ReturnType<typeof response.json>>, unknown>();
      response.body = Buffer.from(await response.text());
    },
    { maxBodyBytes: maybe },
  );
  headrace.rewriteCookies({ domain: maybe, path: { '/': '/x' }, secure: maybe, sameSite: 'lax' });
  headrace.proxyErrors({ log: maybe, render: () => undefined });
  headrace.proxyPass({ hold: maybe, host: 'client', dispatcher, tls: { ca: 'pem' } });
  headrace.proxyPass(maybe, { connections: 1 });
  headrace.proxyPass((req) => new URL(`http://${req.headers.host}`), maybe);
  headrace.reverseProxy({ target: 'http://a', upstreams: maybe, forwardedFor: false });
  headrace.reverseProxy({ upstreams: new headrace.UpstreamPool(['http://a']) }).upstreams?.pick;
  headrace.rewriteUrl([
    ['/a', '/b'],
    [/c/, 'd'],
  ] as const);
  headrace.rewriteUrl((path, req) => `${path}${req.url}`);
  new headrace.UpstreamResponse({ status: maybe, headers: maybe, body: maybe, upstream: maybe });

  // @ts-expect-error: upstreams are required
  headrace.loadBalancer({});
  // @ts-expect-error: no such option
  headrace.stripHopHeaders({ keeps: [] });
  // @ts-expect-error: no such field
  headrace.forwardedFor({ headers: ['x-forwarded-four'] });
  // @ts-expect-error: no such strategy
  headrace.loadBalancer({ upstreams: [], strategy: 'fastest' });
  // @ts-expect-error: an edit is a function
  headrace.modifyResponse({});
  // @ts-expect-error: durations are numbers
  headrace.proxyPass('http://a', { headersTimeoutMs: '5s' });
  // @ts-expect-error: sendResponse has no options
  headrace.sendResponse({ hold: true });
  // @ts-expect-error: a function names a target
  headrace.proxyPass(() => 5);
  // @ts-expect-error: something says where requests go
  headrace.reverseProxy();
  // @ts-expect-error: SameSite is written in lower case here
  headrace.rewriteCookies({ sameSite: 'Lax' });
}

function ownParts(exchange: headrace.Exchange): void {
  const lastOne: headrace.Strategy = { pick: (candidates) => candidates.at(-1) };
  const timed: headrace.Around = async ({ headers }, send) => {
    headers.set('X-Start', Date.now());
    return send();
  };
  const edit: headrace.ResponseEdit = (response) => void response.headers.delete('server');
  headrace.loadBalancer({ upstreams: [], strategy: lastOne });
  exchange.around(timed);
  exchange.onResponse(edit);
}

function functionsOfExpress(): void {
  type Req = express.Request;
  type Res = express.Response;
  headrace.modifyResponse(({ headers }, req: Req, res: Res) =>
    headers.set('X-Ip', `${req.ip} ${res.locals.proxy.path}`),
  );
  headrace.rewriteUrl((path, req: Req) => `/${req.params.tenant}${path}`);
  headrace.proxyErrors({
    log: ({ code }, req: Req) => void [code, req.originalUrl],
    render: (_error, _req: Req, res: Res) => ({ body: res.locals }),
  });
  headrace.reverseProxy({
    target: 'http://a',
    modifyResponse: (_response, { ip }: Req) => ip,
    rewriteUrl: (path, { baseUrl }: Req) => baseUrl + path,
  });
  headrace.proxyPass((_req: Req, res: Res) => String(res.locals.target));
  headrace.fallback((_error, req: Req) => req.ip);
  headrace.concurrencyLimit({ limit: 1, per: ({ ip }: Req) => String(ip) });
  headrace.circuitBreaker({ per: ({ ip }: Req) => String(ip) });
  headrace.rateLimiter({ keyGenerator: ({ ip }: Req) => String(ip) });
  headrace.cache({ key: ({ ip }: Req) => String(ip) });
  headrace.requestId({ generate: ({ ip }: Req) => String(ip) });
  headrace.statusPage({ pools: {}, allowActions: (req: Req) => req.secure });
  headrace.consistentHash({ key: ({ ip }: Req) => ip });
  headrace.assertIdentity({ signingKey: 'k', claims: (_identity, { ip }: Req) => ({ ip }) });
  headrace.attach(createServer(), () => {}, { upgrades: ({ ip }: Req) => ip !== undefined });
  // @ts-expect-error: it is given a request, and no number
  headrace.modifyResponse((_response, _req: number) => {});
  // @ts-expect-error: it names a target
  headrace.proxyPass((_req: Req) => 5);
}

/** What is expected, and where. None of it is ever called: it only has to compile. */
export const expectations: readonly (readonly [string, (...args: never[]) => unknown])[] = [
  ['every factory mounts in Express 5, Express 4 and Connect', mounting],
  ['res.locals.proxy is typed in the handlers of Express', exchangeInExpress],
  ['a switch over the codes of errors knows when it has seen them all', statusOf],
  ['a switch over error.code narrows', narrowing],
  ['undefined equals omitted in every option, and what is no option does not compile', options],
  ['functions typed for Express fit', functionsOfExpress],
  ['a strategy, a wrapper and an edit of one’s own are a line each', ownParts],
];
