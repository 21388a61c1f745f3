import type { IncomingMessage, ServerResponse } from 'node:http';
import { rawClient } from './client.js';
import { serve } from './servers.js';

/** A request and its response, as Node hands them to a listener. */
export interface Inbound {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
}

/** Sends the bytes of a request on a connection of their own. */
export type Receive = (bytes: string) => Promise<Inbound>;

/** A server that hands each request over instead of answering it; closed after the test. */
export async function receiver(): Promise<Receive> {
  let take: (inbound: Inbound) => void = () => {};
  const { port } = await serve((req, res) => take({ req, res }));
  return async (bytes) => {
    const taken = new Promise<Inbound>((resolve) => {
      take = resolve;
    });
    await rawClient(port, bytes);
    return taken;
  };
}

/** A GET with these header lines, as Node hands it over. */
export async function received(...lines: string[]): Promise<Inbound> {
  const receive = await receiver();
  return receive(get(...lines));
}

/** The bytes of a GET with these header lines. */
export function get(...lines: string[]): string {
  return ['GET /path?query HTTP/1.1', 'Host: app.example', ...lines, '', ''].join('\r\n');
}
