import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { Upstream } from 'headrace';
import { RequestBody } from '../../src/transport/request-body.js';
import { transportSettings } from '../../src/transport/settings.js';
import { anExchange } from '../helpers/exchanges.js';

/** A body whose client must not stand still for long, and of which `read()` has been called. */
function begun() {
  const exchange = anExchange();
  const settings = transportSettings('test', { bodyTimeoutMs: 30 });
  const body = new RequestBody(exchange, new Upstream('http://127.0.0.1:1'), settings);
  body.read(0);
  return { body, req: exchange.req };
}

describe('a body that stands still', () => {
  it('is the fault of the client while that has more to send', async () => {
    const { body, req } = begun();
    req.push('some');
    await delay(100);
    expect(body.errored).toMatchObject({ code: 'ERR_PROXY_BODY_TIMEOUT', status: 408 });
  });

  it('is not when all of it is here, and nobody takes it', async () => {
    const { body, req } = begun();
    req.push('all');
    req.push(null);
    await delay(100);
    expect(body.errored).toBeNull();
    expect(body.readableLength).toBe(3);
  });
});
