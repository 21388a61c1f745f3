import { describe, expect, it } from '@jest/globals';
import type { RequestHandler } from 'express';
import { proxyPass, stripHopHeaders } from 'headrace';
import request from 'supertest';
import { appWith, errorOf, printing } from '../helpers/apps.js';
import { rawRequest } from '../helpers/client.js';
import { closeAfter, rawUpstream, serve } from '../helpers/servers.js';

describe('stripHopHeaders', () => {
  it('takes hop-by-hop fields out of what the pieces after it see', async () => {
    const seen: unknown[] = [];
    const look: RequestHandler = (_req, res, next) => {
      const { headers } = res.locals.proxy;
      seen.push(headers.get('Connection'), headers.get('X-Hop'), headers.get('X-User'));
      next();
    };
    const { body } = await request(printing(stripHopHeaders(), look))
      .get('/')
      .set('Connection', 'close, X-Hop')
      .set('X-Hop', 'gone')
      .set('Proxy-Authorization', 'gone')
      .set('X-User', 'stays');
    expect(seen).toEqual([undefined, undefined, 'stays']);
    expect(body.headers).toMatchObject({ 'x-user': 'stays' });
    expect(JSON.stringify(body)).not.toContain('gone');
  });

  it('leaves req.headers as they were', async () => {
    const app = printing(stripHopHeaders({ also: ['x-internal'] }), ((req, res) => {
      res.json(req.headers);
    }) as RequestHandler);
    const { body } = await request(app).get('/').set('X-Internal', '1').set('Keep-Alive', '5');
    expect(body).toMatchObject({ 'x-internal': '1', 'keep-alive': '5', connection: 'close' });
  });

  it('keeps what it is told to', async () => {
    const seen: unknown[] = [];
    const look: RequestHandler = (_req, res, next) => {
      seen.push(res.locals.proxy.headers.get('Proxy-Authorization'));
      next();
    };
    const app = printing(stripHopHeaders({ keep: ['Proxy-Authorization'] }), look);
    await request(app).get('/').set('Proxy-Authorization', 'Basic eA==');
    expect(seen).toEqual(['Basic eA==']);
  });

  it('takes out further fields as the client sent them; what the app sets passes', async () => {
    const set: RequestHandler = (req, res, next) => {
      req.headers['x-live'] = 'app';
      res.locals.proxy.headers.set('X-Overlay', 'app');
      next();
    };
    const also = ['X-Client', 'X-Live', 'X-Overlay'];
    const { body } = await request(printing(stripHopHeaders({ also }), set))
      .get('/')
      .set('X-Client', 'client')
      .set('X-Live', 'client')
      .set('X-Overlay', 'client');
    expect(body.headers).toMatchObject({ 'x-live': 'app', 'x-overlay': 'app' });
    expect(body.headers).not.toHaveProperty('x-client');
  });

  it('takes them out in spellings that CGI-style upstreams read as the same', async () => {
    const { body } = await request(printing(stripHopHeaders({ also: ['X-User'] })))
      .get('/')
      .set({ X_User: 'root', 'X.User': 'root', X_Other: '1' });
    expect(Object.keys(body.headers)).toEqual(expect.arrayContaining(['x_other']));
    expect(JSON.stringify(body.headers)).not.toContain('root');
  });

  it('does the same to responses', async () => {
    const upstream = await rawUpstream(
      'HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nServer: backend\r\n' +
        'Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n',
    );
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    const strip = stripHopHeaders({ keep: ['proxy-authenticate'], also: ['server'] });
    const { headers } = await request(appWith(strip, pass)).get('/').expect(200);
    expect(headers).toHaveProperty('proxy-authenticate', 'Basic');
    expect(headers).not.toHaveProperty('x-hop');
    expect(headers).not.toHaveProperty('server');
  });

  it('does the same to trailers', async () => {
    const upstream = await rawUpstream(
      'HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nTransfer-Encoding: chunked\r\n\r\n' +
        '2\r\nok\r\n0\r\nX-Hop: 1\r\nX-Internal: 2\r\nX-Sum: 3\r\n\r\n',
    );
    const pass = proxyPass(upstream.url);
    closeAfter(() => pass.close());
    const { port } = await serve(appWith(stripHopHeaders({ also: ['X-Internal'] }), pass));
    const { body, trailers } = await rawRequest(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    expect([body, trailers]).toEqual(['ok', [['X-Sum', '3']]]);
  });

  it('is called with no options, undefined ones and an empty object alike', () => {
    for (const options of [undefined, {}, { keep: undefined, also: undefined }])
      expect(stripHopHeaders(options)).toHaveProperty('name', 'stripHopHeadersMiddleware');
  });

  it('does not touch the options it is given', () => {
    const options = Object.freeze({ keep: Object.freeze(['TE']), also: Object.freeze(['X-A']) });
    expect(() => stripHopHeaders(options)).not.toThrow();
  });

  it.each([
    [{ kept: [] }, 'stripHopHeaders: unknown option "kept", did you mean "keep"?'],
    [{ other: 1 }, 'stripHopHeaders: unknown option "other"; known are keep, also'],
    [5, 'stripHopHeaders: options must be an object, received 5'],
    [null, 'stripHopHeaders: options must be an object, received null'],
    [{ keep: 'te' }, 'stripHopHeaders: keep must be an array of field names, received "te"'],
    [{ also: ['x-a', 'b c'] }, 'stripHopHeaders: also[1] must be a field name, received "b c"'],
    [{ keep: [7] }, 'stripHopHeaders: keep[0] must be a field name, received 7'],
    [
      { keep: ['Upgrade'] },
      'stripHopHeaders: keep cannot name "upgrade", which frames the message',
    ],
  ])('refuses %j', (options, message) => {
    expect(() => stripHopHeaders(options as object)).toThrow(new TypeError(message));
  });

  it.each(['connection', 'keep-alive', 'transfer-encoding', 'upgrade'])(
    'cannot keep %s, which frames the message',
    (name) => {
      expect(() => stripHopHeaders({ keep: [name] })).toThrow(TypeError);
    },
  );

  it('says so when it is mounted without being called', async () => {
    expect(await errorOf(stripHopHeaders)).toBe(
      'TypeError: stripHopHeaders: it was given a request. Mount what it returns: app.use(stripHopHeaders(…))',
    );
  });
});
