import { describe, expect, it } from '@jest/globals';
import connect from 'connect';
import express, { type RequestHandler, Router } from 'express';
import express4 from 'express4';
import { exchangeOf, proxyPass } from 'headrace';
import request from 'supertest';
import { closeAfter, serve } from '../helpers/servers.js';

const show: RequestHandler = (req, res) => void res.end(exchangeOf(req, res).route);

describe.each([
  ['express 5', express, '/files/*path', '/files/*path'],
  ['express 4', express4, '/files/*', '/files/*'],
] as const)('the route of a request in %s', (_, framework, wildcard, pattern) => {
  it.each([
    ['/users/42', '/users/:id'],
    ['/v3', '/^\\/v\\d$/'],
    ['/API/what/ever?x=1', '/api/*'],
    ['/shops/Acme%20Ltd/cart', '/shops/:shop/*'],
    ['/shops/acme/shops', '/shops/:shop/*'],
    ['/below/items/7', '/below/items/:item'],
    ['/below', '/below'],
    ['/files/a/b/c', pattern],
    ['/mounted/%zz/b', '/mounted/*'],
    ['/', '/*'],
    ['/elsewhere', '/*'],
  ])('of %s is %s', async (path, route) => {
    const app = framework();
    app.set('env', 'test');
    app.get('/users/:id', show);
    app.get(/^\/v\d$/, show);
    app.use('/api', show);
    app.use('/shops/:shop', show);
    app.use('/below', Router().get('/', show).get('/items/:item', show));
    app.get(wildcard, show);
    app.use('/mounted', show);
    app.use(show);
    expect((await request(app).get(path)).text).toBe(route);
  });
});

describe('the route of a request', () => {
  it('in Connect is what it is mounted at', async () => {
    const app = connect();
    app.use('/api', show as never);
    expect((await request(app).get('/API/users/1')).text).toBe('/api/*');
  });

  it('has names in place of all that a wildcard in a mount has matched', async () => {
    const app = express();
    app.use('/tree/*path/leaf', show);
    expect((await request(app).get('/tree/a/b/c/leaf/x')).text).toBe('/tree/:path/leaf/*');
  });

  it('lists the paths of a route that has many', async () => {
    const app = express();
    app.get(['/a', '/b/:id'], show);
    expect((await request(app).get('/b/1')).text).toBe('/a|/b/:id');
  });

  it('is kept when a response is held for what comes behind it', async () => {
    const upstream = await serve((_req, res) => res.end('ok'));
    const pass = proxyPass(upstream.url, { hold: true });
    closeAfter(() => pass.close());
    const app = express();
    app.use('/api', pass);
    app.use(show);
    expect((await request(app).get('/api/x')).text).toBe('/api/*');
  });

  it('is kept when an error leaves it', async () => {
    const app = express().set('env', 'test');
    app.use('/api', proxyPass('http://127.0.0.1:1'));
    const answer: express.ErrorRequestHandler = (_error, req, res, _next) => show(req, res, _next);
    app.use(answer);
    expect((await request(app).get('/api/x')).text).toBe('/api/*');
  });
});
