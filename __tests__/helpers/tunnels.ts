import { createServer, type RequestListener, type Server } from 'node:http';
import { attach } from 'headrace';
import { type RawClient, rawClient } from './client.js';
import {
  appOf,
  closeAfter,
  type Framework,
  listen,
  type Middleware,
  rawUpstream,
} from './servers.js';

type AttachOptions = Parameters<typeof attach>[2];

/** A server with an attached app, listening until the test is over. */
export async function attachedTo(
  app: RequestListener,
  options?: AttachOptions,
  server: Server = createServer(app),
) {
  const attached = attach(server, app, options);
  const port = await listen(server);
  // Tunnels are no connections of the server any more: it would not close them.
  closeAfter(() => attached.close());
  return { server, port, url: `http://127.0.0.1:${port}`, close: attached.close };
}

/** A gateway of the given framework with these middleware, attached. */
export function tunnelGateway(framework: Framework, ...middleware: Middleware[]) {
  return attachedTo(appOf(framework, ...middleware), { drainMs: 0 });
}

/** The head of an upgrade, with further lines. */
export function upgradeRequest(...lines: string[]): string {
  return [
    'GET /chat HTTP/1.1',
    'Host: gateway',
    'Connection: Upgrade',
    ...(lines.some((line) => /^upgrade:/i.test(line)) ? [] : ['Upgrade: chat']),
    ...lines,
    '',
    '',
  ].join('\r\n');
}

/** What an upstream answers that switches to `protocol`. */
export function switching(protocol: string, ...lines: string[]): string {
  return [
    'HTTP/1.1 101 Switching Protocols',
    'Connection: upgrade',
    `Upgrade: ${protocol}`,
    ...lines,
    '',
    '',
  ].join('\r\n');
}

/** Connects through a gateway and waits for the end of the 101. */
export async function tunnelClient(
  port: number,
  early = '',
  ...lines: string[]
): Promise<RawClient> {
  const client = await rawClient(port, upgradeRequest(...lines) + early);
  await client.until((text) => text.includes('\r\n\r\n'));
  return client;
}

/** An upstream that switches to `chat` and leaves the rest to the test. */
export function chatUpstream(early = '') {
  return rawUpstream((request) =>
    request.startsWith('GET /chat ') ? switching('chat') + early : undefined,
  );
}
