import { createHook } from 'node:async_hooks';
import { expect, it } from '@jest/globals';
import { proxyErrors, proxyPass } from 'headrace';
import { rawRequest } from '../helpers/client.js';
import { request } from '../helpers/requests.js';
import { closeAfter, gateway } from '../helpers/servers.js';

it('keeps nothing of an answer that a quick client has taken at once', async () => {
  let kept = 0;
  const hook = createHook({
    init: (_id, type) => {
      if (type === 'HeadraceUnsent') kept += 1;
    },
  });
  hook.enable();
  closeAfter(() => hook.disable());
  const { port } = await gateway('express 5', proxyPass('http://127.0.0.1:1'), proxyErrors());
  expect((await rawRequest(port, request('GET /'))).status).toBe(502);
  expect(kept).toBe(0);
});
