import { format } from 'node:util';
import { expect, it } from '@jest/globals';
import { proxyErrors, proxyPass } from 'headrace';
import { log } from '../../src/transport/log.js';
import { rawRequest } from '../helpers/client.js';
import { request } from '../helpers/requests.js';
import { closeAfter, gateway, rawUpstream } from '../helpers/servers.js';

it('DEBUG=headrace shows where requests go, and no secrets of theirs', async () => {
  const lines: string[] = [];
  log.enabled = true;
  log.log = (...args: unknown[]) => void lines.push(format(...args));
  closeAfter(() => {
    log.enabled = false;
    Reflect.deleteProperty(log, 'log');
  });
  const upstream = await rawUpstream((_bytes, socket) => void socket.destroy());
  const { port } = await gateway(
    'express 5',
    proxyPass(`${upstream.url}/?api_key=s3cret`),
    proxyErrors(),
  );

  await rawRequest(port, request('POST /x?token=s3cret&page=2'));

  const text = lines.join('\n');
  const path = '/x?api_key=***&token=***&page=2';
  const target = `${upstream.url}?api_key=***`;
  expect(text).toContain(`POST ${path} → ${target}`);
  expect(text).toContain(`POST ${path} failed (ERR_PROXY_RESET: other side closed) at ${target}`);
  expect(text).toContain('POST /x?token=***&page=2 failed:');
  expect(text).not.toContain('s3cret');
});
