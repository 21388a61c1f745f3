import { once } from 'node:events';
import { type IncomingMessage, type RequestOptions, request } from 'node:http';
import { closeAfter } from './servers.js';

/** A response with its whole body. */
export interface WholeResponse {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** Asks for a URL on a connection of its own, closed after the test; resolves at the head. */
export async function fetchHead(
  url: string,
  options: RequestOptions = {},
): Promise<IncomingMessage> {
  const sent = request(url, { agent: false, ...options });
  closeAfter(() => sent.destroy());
  sent.end();
  const [response] = await once(sent, 'response');
  return response as IncomingMessage;
}

/** Asks for a URL and resolves with everything; rejects when the body breaks off. */
export async function fetchWhole(
  url: string,
  options: RequestOptions = {},
): Promise<WholeResponse> {
  const response = await fetchHead(url, options);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: Buffer.concat(chunks),
  };
}
