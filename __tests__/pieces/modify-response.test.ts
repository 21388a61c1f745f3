import { describe, expect, it } from '@jest/globals';
import type { Request, RequestHandler } from 'express';
import {
  exchangeOf,
  modifyResponse,
  NoUpstreamError,
  sendResponse,
  UpstreamResponse,
} from 'headrace';
import request from 'supertest';
import { answering, appWith, errorOf } from '../helpers/apps.js';

/** A middleware that puts a response on the exchange, as `proxyPass({ hold: true })` does. */
function hold(response: UpstreamResponse): RequestHandler {
  return (req, res, next) => {
    exchangeOf(req, res).response = response;
    next();
  };
}

describe('modifyResponse', () => {
  it('takes an arrow function whose value is of no use', async () => {
    const set = modifyResponse((response) => response.headers.set('X-Proxy', 'magical'));
    const drop = modifyResponse((response) => response.headers.delete('X-Nothing'));
    await request(answering({}, set, drop))
      .get('/')
      .expect(200)
      .expect('X-Proxy', 'magical');
  });

  it('sets and removes headers, and changes the status', async () => {
    const init = { status: 500, headers: { 'X-Powered-By': 'backend', 'X-Kept': '1' } };
    const app = answering(
      init,
      modifyResponse((response) => {
        response.status = 418;
        response.headers.set('X-Proxy', 'magical');
        response.headers.delete('X-Powered-By');
      }),
    );
    app.disable('x-powered-by');
    const { headers } = await request(app).get('/').expect(418).expect('X-Proxy', 'magical');
    expect(headers).toMatchObject({ 'x-kept': '1' });
    expect(headers).not.toHaveProperty('x-powered-by');
  });

  it('hands the edit the response, the request and the answer', async () => {
    const seen: unknown[] = [];
    const edit = modifyResponse((response, req, res) => {
      seen.push(response.status, (req as Request).path, res.getHeader('X-Earlier'));
    });
    const earlier: RequestHandler = (_req, res, next) => {
      res.set('X-Earlier', 'yes');
      next();
    };
    await request(answering({ status: 201 }, earlier, edit))
      .get('/a')
      .expect(201);
    expect(seen).toEqual([201, '/a', 'yes']);
  });

  it('runs several edits in the order of the pieces, and waits for each', async () => {
    const append = (word: string) =>
      modifyResponse(async (response) => {
        response.body = `${await response.text()} ${word}`;
      });
    const app = answering({ body: 'one' }, append('two'), append('three'));
    await request(app).get('/').expect('one two three');
  });

  it('gives each edit its own limit, the one of a response of one’s own included', async () => {
    const read = (maxBodyBytes?: number) =>
      modifyResponse(async (response) => void (await response.text()), { maxBodyBytes });
    const body = () => ({ body: new Blob(['12345']).stream() });
    await request(answering(body, read(5), read()))
      .get('/')
      .expect('12345');
    const { body: problem } = await request(answering(body, read(4)))
      .get('/')
      .expect(502);
    expect(problem.code).toBe('ERR_PROXY_MODIFY_RESPONSE');
  });

  it('takes 10 MiB by default', async () => {
    let limit: number | undefined;
    const edit = modifyResponse((response) => {
      limit = response.maxBodyBytes;
    });
    await request(answering({}, edit)).get('/').expect(200);
    expect(limit).toBe(10_485_760);
  });

  it.each([
    ['throws', () => fail()],
    ['rejects', async () => fail()],
  ])('an edit that %s is 502', async (_, edit) => {
    const { body } = await request(answering({ body: 'body' }, modifyResponse(edit)))
      .get('/')
      .expect(502);
    expect(body.code).toBe('ERR_PROXY_MODIFY_RESPONSE');
    expect(JSON.stringify(body)).not.toContain('internal words');
  });

  it('an edit may end in a proxy error of its own', async () => {
    const edit = modifyResponse(() => {
      throw new NoUpstreamError();
    });
    const { body } = await request(answering({}, edit)).get('/').expect(503);
    expect(body.code).toBe('ERR_PROXY_NO_UPSTREAM');
  });

  it('behind a held response it edits at once', async () => {
    const seen: unknown[] = [];
    const look: RequestHandler = (_req, res, next) => {
      seen.push(res.locals.proxy.response?.headers.get('x-proxy'));
      next();
    };
    const app = appWith(
      modifyResponse((response) => void response.headers.append('X-Proxy', 'before')),
      hold(new UpstreamResponse({ body: 'held' })),
      look,
      modifyResponse(async (response) => {
        await Promise.resolve();
        response.headers.append('X-Proxy', 'behind');
      }),
      look,
      sendResponse(),
    );
    const { headers, text } = await request(app).get('/').expect(200);
    expect(headers['x-proxy']).toBe('before, behind');
    expect(text).toBe('held');
    expect(seen).toEqual([undefined, 'before, behind']);
  });

  it('behind a held response, an edit that throws goes to next(err)', async () => {
    const response = new UpstreamResponse({ body: 'held' });
    const app = appWith(
      hold(response),
      modifyResponse(() => fail()),
      sendResponse(),
    );
    await request(app).get('/').expect(502);
    expect(response.content.at).toBe('nowhere');
  });

  it.each([
    [undefined, undefined, 'modifyResponse: edit must be a function, received undefined'],
    [
      { maxBodyBytes: 1 },
      undefined,
      'modifyResponse: edit must be a function, received an object ["maxBodyBytes"]',
    ],
    [
      () => {},
      { maxBodySize: 1 },
      'modifyResponse: unknown option "maxBodySize"; known are maxBodyBytes',
    ],
    [
      () => {},
      { maxBodybytes: 1 },
      'modifyResponse: unknown option "maxBodybytes", did you mean "maxBodyBytes"?',
    ],
    [() => {}, null, 'modifyResponse: options must be an object, received null'],
    [
      () => {},
      { maxBodyBytes: '1mb' },
      'modifyResponse: maxBodyBytes must be a whole number, received "1mb"',
    ],
    [
      () => {},
      { maxBodyBytes: 0 },
      'modifyResponse: maxBodyBytes must be a whole number of at least 1, received 0',
    ],
  ])('refuses %p with %j', (edit, options, message) => {
    expect(() => modifyResponse(edit as never, options as never)).toThrow(message);
  });

  it('says so when it is mounted without being called', async () => {
    expect(await errorOf(modifyResponse)).toMatch(/returns: app\.use\(modifyResponse\(…\)\)$/);
  });

  function fail(): never {
    throw new Error('internal words');
  }
});
