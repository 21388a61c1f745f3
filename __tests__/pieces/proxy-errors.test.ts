import type { ServerResponse } from 'node:http';
import { describe, expect, it, jest } from '@jest/globals';
import type { ErrorRequestHandler, RequestHandler } from 'express';
import {
  BadRequestError,
  BodyConsumedError,
  ConnectError,
  exchangeOf,
  OverloadedError,
  ProxyError,
  type ProxyErrorsOptions,
  proxyErrors,
  proxyPass,
  Upstream,
} from 'headrace';
import request from 'supertest';
import { appWith, errorOf } from '../helpers/apps.js';
import { closeAfter, frameworks, gateway, type Middleware, serve } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

/** What an app says of whatever it sends. */
const OWN = {
  'access-control-allow-origin': 'http://spa.example',
  'content-security-policy': "default-src 'self'",
  'strict-transport-security': 'max-age=31536000',
  'x-request-id': 'a',
  vary: 'Origin',
  'set-cookie': 'session=1',
};

/** What it says of the one body that it meant to send. */
const OF_BODY = {
  'content-type': 'text/css',
  'content-encoding': 'gzip',
  'content-disposition': 'attachment',
  'content-length': '99999',
  'transfer-encoding': 'chunked',
  etag: '"stale"',
  'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT',
  'cache-control': 'public, max-age=60',
  'cdn-cache-control': 'max-age=60',
};

/** An app whose requests end in an error, with `proxyErrors()` behind it. */
function failing(error: unknown, options?: ProxyErrorsOptions) {
  const fail: RequestHandler = (_req, res, next) => {
    res.set('Content-Encoding', 'gzip').set('ETag', '"stale"');
    next(error);
  };
  return appWith(fail, proxyErrors(options));
}

const upstream = new Upstream('http://10.0.0.1');
const error = new ConnectError({ cause: new Error('ECONNREFUSED 10.0.0.1:80'), upstream });

describe('proxyErrors', () => {
  it.each([
    [undefined],
    ['*/*'],
    ['application/json'],
    ['application/problem+json'],
    ['application/*'],
    ['text/html;q=0.8, application/json'],
    ['text/html;q=0, */*'],
    ['image/png, application/vnd.api+json;q=0.1'],
  ])('answers problem details to %p', async (accept) => {
    const test = request(failing(error)).get('/');
    const { body } = await (accept === undefined ? test : test.set('Accept', accept))
      .expect(502)
      .expect('Content-Type', 'application/problem+json');
    expect(body).toEqual({
      type: 'about:blank',
      title: 'Bad Gateway',
      status: 502,
      detail: 'The upstream could not be reached',
      code: 'ERR_PROXY_CONNECT',
    });
  });

  it.each([
    ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'],
    ['Text/HTML'],
    ['application/xhtml+xml'],
    ['application/json;q=0.1, text/html;level=1;q=0.2'],
  ])('answers HTML to %p', async (accept) => {
    const { text } = await request(failing(error))
      .get('/')
      .set('Accept', accept)
      .expect(502)
      .expect('Content-Type', 'text/html; charset=utf-8');
    expect(text).toContain('<h1>502 Bad Gateway</h1>\n<p>The upstream could not be reached</p>');
  });

  it.each([['text/plain'], ['text/*'], ['image/png'], ['*/*;q=0'], ['text/html;q=x'], ['']])(
    'answers plain text to %p',
    async (accept) => {
      await request(failing(error))
        .get('/')
        .set('Accept', accept)
        .expect(502)
        .expect('Content-Type', 'text/plain; charset=utf-8')
        .expect('502 Bad Gateway: The upstream could not be reached\n');
    },
  );

  it('tells what the client has sent as text, and never as HTML', async () => {
    const failure = new BodyConsumedError('req.body is an object, but Content-Type is "a/<b>&"');
    const { text } = await request(failing(failure)).get('/').set('Accept', 'text/html');
    expect(text).toContain('Content-Type is &#34;a/&#60;b&#62;&#38;&#34;</p>');
  });

  it('shows nothing of the upstream, its words or the request', async () => {
    for (const accept of ['text/html', 'text/plain', '*/*']) {
      const path = '/%3Cscript%3E?x=<script>';
      const { text } = await request(failing(error)).get(path).set('Accept', accept);
      expect(text).not.toMatch(/10\.0\.0\.1|ECONNREFUSED|script/i);
    }
  });

  it('drops what earlier middleware said of another body, and forbids to store the answer', async () => {
    const { headers } = await request(failing(error)).get('/').expect('Cache-Control', 'no-store');
    expect(headers).not.toHaveProperty('etag');
    expect(headers).not.toHaveProperty('content-encoding');
    expect(headers).toHaveProperty('content-length');
  });

  it.each(frameworks)('keeps what the app says of every answer, in %s', async (framework) => {
    const set: Middleware = (_req, res, next) => {
      for (const [name, value] of [...Object.entries(OWN), ...Object.entries(OF_BODY)]) {
        res.setHeader(name, value);
      }
      next();
    };
    const bare = proxyPass('http://127.0.0.1:1');
    const ends: Middleware[][] = [[bare, proxyErrors()], [(req, res) => bare(req, res)]];
    for (const end of ends) {
      const { url } = await gateway(framework, set, ...end);
      const { status, headers } = await fetch(url);
      expect(status).toBe(502);
      for (const [name, value] of Object.entries(OWN)) {
        expect([name, headers.get(name)]).toEqual([name, String(value)]);
      }
      for (const [name, value] of Object.entries(OF_BODY)) {
        expect([name, headers.get(name)]).not.toEqual([name, value]);
      }
    }
  });

  it('leaves nothing of the head of an upstream that could not be sent', async () => {
    const set: Middleware = (_req, res, next) => {
      const { writeHead } = res;
      res.setHeader('X-App', 'ours');
      res.writeHead = () => {
        res.writeHead = writeHead;
        throw new Error('of other middleware');
      };
      next();
    };
    const { url } = await serve((_req, res) => res.setHeader('X-Upstream', 'theirs').end());
    const app = await gateway('express 5', set, proxyPass(url), proxyErrors());
    const { status, headers } = await fetch(app.url);
    expect([status, headers.get('x-app'), headers.get('x-upstream')]).toEqual([502, 'ours', null]);
  });

  it('sends the fields of the error, such as Retry-After', async () => {
    const overloaded = new OverloadedError({ headers: { 'retry-after': '7' } });
    await request(failing(overloaded)).get('/').expect(503).expect('Retry-After', '7');
    await request(failing(new BadRequestError('no', 431)))
      .get('/')
      .expect(431)
      .expect('Connection', 'close');
  });

  it('answers HEAD without a body', async () => {
    const { text } = await request(failing(error)).head('/').expect(502);
    expect(text).toBeUndefined();
  });

  it('has a title for a status that has none', async () => {
    const odd = new ProxyError('ERR_PROXY_OVERLOADED', 598, 'Odd');
    await request(failing(odd))
      .get('/')
      .set('Accept', 'text/plain')
      .expect(598, '598 Error: Odd\n');
  });

  it('passes other errors on', async () => {
    const show: ErrorRequestHandler = ({ message }, _req, res, _next) =>
      res.status(500).json(message);
    const fail: RequestHandler = (_req, _res, next) => next(new Error('not mine'));
    await request(appWith(fail, proxyErrors(), show))
      .get('/')
      .expect(500, '"not mine"');
  });

  it('answers the errors of another copy of the package', async () => {
    const foreign = Object.assign(new Error('Gone'), { code: 'ERR_PROXY_RESET', status: 502 });
    await request(failing(foreign)).get('/').set('Accept', 'text/plain').expect(502, /Gone/);
  });

  it('breaks the connection when something has been sent', async () => {
    const begin: RequestHandler = (_req, res, next) => {
      res.write('begun', () => next(error));
    };
    await expect(request(appWith(begin, proxyErrors())).get('/')).rejects.toThrow(
      /aborted|hang up/,
    );
  });

  it.each(['express 4', 'connect'] as const)('works in %s', async (framework) => {
    const { url } = await gateway(framework, proxyPass(), proxyErrors());
    const res = await fetch(url);
    expect(res.status).toBe(500);
    expect(await res.json()).toHaveProperty('code', 'ERR_PROXY_NO_TARGET');
  });
});

describe('log', () => {
  it('gets error, request and attempts', async () => {
    const seen: unknown[] = [];
    const log: ProxyErrorsOptions['log'] = (...args) => void seen.push(...args);
    const attempt = { upstream, startedAt: 1, headAt: undefined, status: undefined, error };
    const fail: RequestHandler = (req, res, next) => {
      exchangeOf(req, res).attempts.push(attempt as never);
      next(error);
    };
    await request(appWith(fail, proxyErrors({ log })))
      .get('/logged')
      .expect(502);
    expect(seen).toEqual([error, expect.objectContaining({ url: '/logged' }), [attempt]]);
  });

  it('gets proxy errors only', async () => {
    const seen: unknown[] = [];
    await request(failing(new Error('other'), { log: (one) => void seen.push(one) })).get('/');
    expect(seen).toEqual([]);
  });
});

describe('render', () => {
  it.each([
    ['text', 'application text', 'text/plain; charset=utf-8', 'application text'],
    ['an object as JSON', { oops: 'é' }, 'application/json', '{"oops":"é"}'],
    ['bytes', Buffer.from('bytes'), 'application/octet-stream', 'bytes'],
  ])('answers with %s', async (_, body, type, sent) => {
    const {
      headers,
      text,
      body: bytes,
    } = await request(failing(error, { render: () => ({ body }) }))
      .get('/')
      .expect(502)
      .expect('Content-Type', type);
    expect(text ?? bytes.toString()).toBe(sent);
    expect(headers['content-length']).toBe(String(Buffer.byteLength(sent)));
  });

  it('gets error, request and answer, and sets headers that win', async () => {
    const render: ProxyErrorsOptions['render'] = ({ code }, { url }, res) => {
      res.statusCode = 599;
      const headers = { 'Content-Type': 'text/csv', 'Cache-Control': 'max-age=1' };
      return { headers, body: `${code};${url}` };
    };
    await request(failing(error, { render }))
      .get('/x')
      .expect(599, 'ERR_PROXY_CONNECT;/x')
      .expect('Content-Type', 'text/csv')
      .expect('Cache-Control', 'max-age=1');
  });

  it('that returns nothing means the usual answer', async () => {
    const app = failing(error, { render: () => undefined });
    await request(app).get('/').expect(502).expect('Content-Type', 'application/problem+json');
  });

  it.each<[string, () => unknown, reason: string]>([
    [
      'throws',
      () => {
        throw new Error('no template');
      },
      'no template',
    ],
    [
      'is async',
      async () => ({ body: 'late' }),
      'render() must return { headers, body } or undefined, received a promise',
    ],
    ['rejects', async () => Promise.reject(new Error('no template')), 'received a promise'],
    ['gives no body', () => ({ headers: {} }), 'received an object ["headers"]'],
    ['gives a text', () => 'text', 'received "text"'],
    ['gives a number for a body', () => ({ body: 7 }), 'received an object ["body"]'],
    ['gives what is no JSON', () => ({ body: { size: 1n } }), 'BigInt'],
    [
      'gives what is nothing in JSON',
      () => ({ body: { toJSON() {} } }),
      'received an object ["body"]',
    ],
    ['gives no header', () => ({ headers: { 'a b': 'c' }, body: '' }), 'Header name'],
    [
      'gives what no header can be',
      () => ({ headers: { 'Content-Language': 'en', 'X-A': 'a\nb' }, body: '' }),
      'Invalid character',
    ],
  ])('that %s is warned of, and means the usual answer', async (_, render, reason) => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    closeAfter(() => warn.mockRestore());
    const { headers, body } = await request(failing(error, { render } as ProxyErrorsOptions))
      .get('/')
      .expect(502);
    expect(body).toHaveProperty('code', 'ERR_PROXY_CONNECT');
    expect(headers).not.toHaveProperty('content-language');
    expect(warn.mock.calls[0]).toEqual([
      'proxyErrors: render() has failed',
      expect.objectContaining({ detail: expect.stringContaining(reason) }),
    ]);
  });

  it.each<[string, ProxyErrorsOptions['render']]>([
    [
      'throws',
      (_error, _req, res) => {
        res.write('begun');
        throw new Error('in the middle');
      },
    ],
    [
      'rejects',
      (async (_error: unknown, _req: unknown, res: ServerResponse) => {
        res.end('begun');
        throw new Error('in the middle');
      }) as never,
    ],
  ])('that answers by itself and %s ends nothing but that answer', async (_, render) => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    closeAfter(() => warn.mockRestore());
    await request(failing(error, { render }))
      .get('/')
      .catch(() => {});
    await eventually('a warning', () => warn.mock.calls.length > 0);
    expect(warn.mock.calls.map(([message]) => message)).toEqual([
      'proxyErrors: render() has failed',
    ]);
  });

  it('may answer by itself', async () => {
    const render: ProxyErrorsOptions['render'] = (_error, _req, res) => {
      res.end('done');
      return undefined;
    };
    await request(failing(error, { render })).get('/').expect(502, 'done');
  });
});

describe('options', () => {
  it.each([
    [{ logger: () => {} }, 'proxyErrors: unknown option "logger"; known are log, render'],
    [{ renders: () => {} }, 'proxyErrors: unknown option "renders", did you mean "render"?'],
    [{ log: console }, 'proxyErrors: log must be a function, received an object '],
    [{ render: 'page' }, 'proxyErrors: render must be a function, received "page"'],
    [null, 'proxyErrors: options must be an object, received null'],
  ])('%p are refused', (options, message) => {
    expect(() => proxyErrors(options as never)).toThrow(TypeError);
    expect(() => proxyErrors(options as never)).toThrow(message);
  });

  it('mounted without being called, it says so', async () => {
    expect(await errorOf(proxyErrors)).toMatch(/returns: app\.use\(proxyErrors\(…\)\)$/);
  });
});
