import { describe, expect, it } from '@jest/globals';
import type { RequestHandler } from 'express';
import { exchangeOf, proxyErrors, proxyPass, sendResponse, UpstreamResponse } from 'headrace';
import request from 'supertest';
import { answer, appWith, errorOf } from '../helpers/apps.js';
import { gateway } from '../helpers/servers.js';

const held = { status: 404, headers: { 'X-From': 'upstream' }, body: 'not here' };
const pass = () => proxyPass('http://backend.example', { hold: true });

describe('sendResponse', () => {
  it('sends the response that proxyPass({ hold: true }) holds', async () => {
    const app = appWith(answer(held), pass(), sendResponse());
    await request(app).get('/').expect(404, 'not here').expect('X-From', 'upstream');
  });

  it('sends what a middleware has put in its place', async () => {
    const replace: RequestHandler = (_req, res, next) => {
      res.locals.proxy.response?.discard();
      res.locals.proxy.response = new UpstreamResponse({ body: 'mine' });
      next();
    };
    const app = appWith(answer(held), pass(), replace, sendResponse());
    await request(app).get('/').expect(200, 'mine');
  });

  it('runs the edits that were registered in between', async () => {
    const edit: RequestHandler = (req, res, next) => {
      exchangeOf(req, res).onResponse((response) => void response.headers.set('X-Edited', 'late'));
      next();
    };
    const app = appWith(answer(held), pass(), edit, sendResponse());
    await request(app).get('/').expect('X-Edited', 'late');
  });

  it('is not there to send twice', async () => {
    const look: RequestHandler = (_req, res, next) => {
      res.once('finish', () => {
        expect(res.locals.proxy.response).toBeUndefined();
      });
      next();
    };
    await request(appWith(answer(held), pass(), look, sendResponse()))
      .get('/')
      .expect(404);
  });

  it('without a response says which piece to add: 500', async () => {
    const seen: string[] = [];
    const app = appWith(sendResponse(), proxyErrors({ log: ({ message }) => seen.push(message) }));
    const { body } = await request(app).get('/').expect(500);
    expect(body.code).toBe('ERR_PROXY_NO_TARGET');
    expect(seen).toEqual([
      'sendResponse: there is no response to send: place proxyPass({ hold: true }) before it',
    ]);
  });

  it('without a response on a bare server is 500, too', async () => {
    const { url } = await gateway('node:http', sendResponse());
    expect((await fetch(url)).status).toBe(500);
  });

  it.each([
    [{ hold: true }, 'sendResponse: unknown option "hold"; known are none'],
    [null, 'sendResponse: options must be an object, received null'],
    ['x', 'sendResponse: options must be an object, received "x"'],
  ])('refuses %j', (options, message) => {
    expect(() => sendResponse(options as never)).toThrow(new TypeError(message));
  });

  it('says so when it is mounted without being called', async () => {
    expect(await errorOf(sendResponse)).toMatch(/returns: app\.use\(sendResponse\(…\)\)$/);
  });
});
