import {
  type ClientRequest,
  type OutgoingHttpHeaders,
  type RequestListener,
  type RequestOptions,
  request,
} from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer as createTlsServer, request as tlsRequest } from 'node:https';
import type { Readable, Writable } from 'node:stream';
import { type Certificate, selfSigned } from './certificates.js';
import { http2Client } from './http2.js';
import { closeAfter, listen, serve } from './servers.js';

/** One for all tests of a file. */
let made: Promise<Certificate> | undefined;
/** The certificate of `localhost` that all servers here have. */
export function localCertificate(): Promise<Certificate> {
  made ??= selfSigned('localhost');
  return made;
}

/** How the gateway speaks to its upstream: starts one, and resolves with its URL. */
export const upstreams: Record<string, (listener: RequestListener) => Promise<string>> = {
  HTTP: async (listener) => (await serve(listener)).url,
  HTTPS: async (listener) =>
    `https://localhost:${await listen(createTlsServer(await localCertificate(), listener))}`,
  'HTTP/2': async (listener) => {
    const server = createSecureServer(await localCertificate(), listener as never);
    return `https://localhost:${await listen(server as never)}`;
  },
};

/** Sends a request to a gateway, on a connection of its own or a stream, and resolves with the answer's body. */
export type Ask = (upload?: Upload) => Promise<Readable>;

/** A body, and whether its length is told before. */
export interface Upload {
  readonly body: Buffer;
  readonly sized: boolean;
}

/** How clients speak to the gateway: starts one, and resolves with what asks it. */
export const fronts: Record<string, (app: RequestListener) => Promise<Ask>> = {
  HTTP: async (app) => {
    const { url } = await serve(app);
    return (upload) => answered(request(url, { agent: false, ...asOptions(upload) }), upload);
  },
  HTTPS: async (app) => {
    const certificate = await localCertificate();
    const port = await listen(createTlsServer(certificate, app));
    const options = { agent: false, ca: certificate.cert };
    return (upload) =>
      answered(
        tlsRequest(`https://localhost:${port}`, { ...options, ...asOptions(upload) }),
        upload,
      );
  },
  'HTTP/2': async (app) => {
    const certificate = await localCertificate();
    const port = await listen(createSecureServer(certificate, app as never) as never);
    const session = http2Client(`https://localhost:${port}`, { ca: certificate.cert });
    return async (upload) => {
      const { method = 'GET', headers = {} } = asOptions(upload);
      const stream = session.request({ ':path': '/', ':method': method, ...headers });
      send(stream, upload);
      return stream;
    };
  },
};

function asOptions(
  upload: Upload | undefined,
): Pick<RequestOptions, 'method'> & { headers?: OutgoingHttpHeaders } {
  if (upload === undefined) return {};
  return {
    method: 'POST',
    headers: upload.sized ? { 'content-length': upload.body.length } : {},
  };
}

function send(stream: Writable, upload: Upload | undefined): void {
  if (upload === undefined) stream.end();
  else writeInPieces(stream, upload.body);
}

/** Resolves with the answer to a request of `node:http`, once it has been sent. */
export function answered(sent: ClientRequest, upload?: Upload): Promise<Readable> {
  return new Promise((resolve, reject) => {
    sent.on('response', resolve).on('error', reject);
    send(sent, upload);
    closeAfter(() => sent.destroy());
  });
}

/** Writes a body in pieces of any size, and waits where it is told to. */
export function writeInPieces(to: Writable, body: Buffer): void {
  let at = 0;
  const next = (): void => {
    let hasRoom = true;
    while (hasRoom && at < body.length) {
      const end = at + 1 + Math.floor(Math.random() ** 4 * 300_000);
      hasRoom = to.write(body.subarray(at, end));
      at = end;
    }
    if (at >= body.length) to.end();
  };
  to.on('drain', next);
  next();
}
