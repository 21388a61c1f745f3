import { createServer, type RequestListener, type Server } from 'node:http';
import {
  type AddressInfo,
  createServer as createNetServer,
  type Server as NetServer,
  type Socket,
} from 'node:net';
import { afterAll, afterEach } from '@jest/globals';
import connect from 'connect';
import express, { type ErrorRequestHandler, type RequestHandler } from 'express';
import express4 from 'express4';

/** What a test opened, and what all tests of a file share; closed newest first. */
const opened: (() => unknown)[] = [];
const shared: (() => unknown)[] = [];
let scope = opened;

/** Has something closed after the running test. */
export function closeAfter(close: () => unknown): void {
  scope.push(close);
}

/** For `beforeAll`: what is opened here stays open until the last test of the file. */
export async function openForAll<T>(open: () => Promise<T>): Promise<T> {
  scope = shared;
  try {
    return await open();
  } finally {
    scope = opened;
  }
}

const closeAll = async (closes: (() => unknown)[]) => {
  for (const close of closes.splice(0).reverse()) await close();
};

afterEach(() => closeAll(opened));
afterAll(() => closeAll(shared));

/** Starts an HTTP server on a free port of 127.0.0.1; it is closed after the test. */
export async function serve(
  listener: RequestListener,
): Promise<{ server: Server; port: number; url: string }> {
  const server = createServer(listener);
  const port = await listen(server);
  return { server, port, url: `http://127.0.0.1:${port}` };
}

/** Listens on a free port of 127.0.0.1 until the test is over. */
export async function listen(server: Server | NetServer): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closeAfter(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        if ('closeAllConnections' in server) server.closeAllConnections();
      }),
  );
  return (server.address() as AddressInfo).port;
}

/**
 * A port that refuses connections. It is below those that `listen(0)` gives: nobody gets it meanwhile, the gateway of
 * the test above all, which would ask itself without end.
 */
export async function closedPort(): Promise<number> {
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const server = createNetServer();
  const isFree = await new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
  return isFree ? port : closedPort();
}

/** The URL of a {@link closedPort}. */
export async function refusing(): Promise<string> {
  return `http://127.0.0.1:${await closedPort()}`;
}

/** What a {@link rawUpstream} saw. */
export interface RawUpstream {
  readonly port: number;
  readonly url: string;
  /** All bytes of all connections, as latin-1 text, in the order they came. */
  received(): string;
  /** The bytes of each connection. */
  connections(): string[];
  /** The sockets, oldest first. */
  readonly sockets: Socket[];
}

/**
 * An upstream that is no HTTP server: it records the bytes it gets and answers with given ones. The
 * answer is sent when a whole request head (and `Content-Length` or chunked body) has come, once for
 * each; a function gets the request's bytes and the socket, and may write to the socket by itself.
 */
export async function rawUpstream(
  answer: string | Buffer | ((request: string, socket: Socket) => string | Buffer | undefined) = OK,
): Promise<RawUpstream> {
  const sockets: Socket[] = [];
  const bytes: string[] = [];
  const server = createNetServer((socket) => {
    const index = sockets.push(socket) - 1;
    bytes[index] = '';
    let pending = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1');
      bytes[index] += text;
      pending += text;
      for (let length = requestLength(pending); length > 0; length = requestLength(pending)) {
        const request = pending.slice(0, length);
        pending = pending.slice(length);
        const reply = typeof answer === 'function' ? answer(request, socket) : answer;
        if (reply !== undefined && !socket.destroyed) socket.write(reply);
      }
    });
  });
  const port = await listen(server);
  closeAfter(() => {
    for (const socket of sockets) socket.destroy();
  });
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    received: () => bytes.join(''),
    connections: () => [...bytes],
    sockets,
  };
}

/** A plain answer of two bytes. */
export const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** The length of the first whole request in `text`, or 0. */
function requestLength(text: string): number {
  const end = text.indexOf('\r\n\r\n');
  if (end === -1) return 0;
  const head = text.slice(0, end);
  if (/^transfer-encoding:/im.test(head)) return chunkedEnd(text, end + 4);
  const length = Number(/^content-length:\s*(\d+)/im.exec(head)?.[1] ?? 0);
  return text.length >= end + 4 + length ? end + 4 + length : 0;
}

/** Where a chunked body that begins at `from` ends, trailers included, or 0. */
function chunkedEnd(text: string, from: number): number {
  for (let at = from; ; ) {
    const lineEnd = text.indexOf('\r\n', at);
    if (lineEnd === -1) return 0;
    const size = Number.parseInt(text.slice(at, lineEnd), 16);
    if (size > 0) {
      at = lineEnd + 2 + size + 2;
    } else {
      const last = text.indexOf('\r\n\r\n', lineEnd);
      return last === -1 ? 0 : last + 4;
    }
  }
}

/** The frameworks that every behaviour holds for. */
export const frameworks = ['express 5', 'express 4', 'connect', 'node:http'] as const;
export type Framework = (typeof frameworks)[number];

/** A middleware or error middleware of any of the frameworks. */
// biome-ignore lint/suspicious/noExplicitAny: the frameworks' own types of middleware do not agree
export type Middleware = (...args: any[]) => unknown;

/** A gateway of the given framework with these middleware, listening until the test is over. */
export async function gateway(
  framework: Framework,
  ...middleware: Middleware[]
): Promise<{ server: Server; port: number; url: string }> {
  return serve(appOf(framework, ...middleware));
}

/** The request listener of an app of the given framework with these middleware. */
export function appOf(framework: Framework, ...middleware: Middleware[]): RequestListener {
  if (framework === 'node:http') return chain(middleware);
  const app =
    framework === 'express 5' ? express() : framework === 'express 4' ? express4() : connect();
  // Error pages of the frameworks print stacks to stderr outside of tests only.
  if ('set' in app) app.set('env', 'test');
  for (const one of middleware)
    app.use(one as RequestHandler & ErrorRequestHandler & connect.HandleFunction);
  return app as RequestListener;
}

/** Middleware one after the other on a bare server; the last one gets no `next`. */
function chain(middleware: Middleware[]): RequestListener {
  return (req, res) => {
    const run = (i: number, error?: unknown): void => {
      const one = middleware[i];
      if (one === undefined) {
        res.statusCode = (error as { status?: number } | undefined)?.status ?? 404;
        res.end();
      } else if (error !== undefined) {
        if (one.length === 4) one(error, req, res, (next?: unknown) => run(i + 1, next));
        else run(i + 1, error);
      } else if (one.length === 4) {
        run(i + 1);
      } else if (i === middleware.length - 1) {
        one(req, res);
      } else {
        one(req, res, (next?: unknown) => run(i + 1, next));
      }
    };
    run(0);
  };
}
