import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  createSecureServer,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type SecureServerOptions,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect as connectSocket, createServer as createNetServer, type Socket } from 'node:net';
import { closeAfter, listen } from './servers.js';

/** What an HTTP/2 server answers a stream. */
export type Answer = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  session: ServerHttp2Session,
) => void;

/** An HTTP/2 server of Node's, and what has come to it. */
export interface Http2Upstream {
  readonly server: Http2Server;
  readonly port: number;
  readonly sessions: ServerHttp2Session[];
  readonly streams: ServerHttp2Stream[];
  readonly headers: IncomingHttpHeaders[];
}

/** Starts an HTTP/2 server on 127.0.0.1; with TLS when there is a certificate, else in clear text. */
export async function http2Upstream(
  answer: Answer,
  options: SecureServerOptions = {},
): Promise<Http2Upstream> {
  const server =
    options.cert === undefined ? createServer(options as object) : createSecureServer(options);
  const sessions: ServerHttp2Session[] = [];
  const streams: ServerHttp2Stream[] = [];
  const seen: IncomingHttpHeaders[] = [];
  server.on('session', (session: ServerHttp2Session) => {
    sessions.push(session);
    session.on('error', () => {});
  });
  server.on('sessionError', () => {});
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {});
    streams.push(stream);
    seen.push(headers);
    answer(stream, headers, stream.session as ServerHttp2Session);
  });
  const port = await listen(server);
  closeAfter(() => {
    for (const session of sessions) session.destroy();
  });
  return { server, port, sessions, streams, headers: seen };
}

/** Answers 200 with what it was asked. */
export const echo: Answer = (stream, headers) => {
  let body = '';
  stream.on('data', (chunk: Buffer) => {
    body += chunk;
  });
  stream.on('end', () => {
    stream.respond({ ':status': 200 });
    stream.end(`${headers[':method']} ${headers[':path']} ${headers[':authority']} ${body}`);
  });
};

/** A session with a server; closed after the test. */
export function http2Client(origin: string, options: object = {}): ClientHttp2Session {
  const session = connect(origin, options);
  session.on('error', () => {});
  closeAfter(() => session.destroy());
  return session;
}

/** What a client sees of one stream. */
export interface Http2Response {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly interims: IncomingHttpHeaders[];
  readonly trailers: IncomingHttpHeaders | undefined;
  readonly body: string;
  /** The code that the stream was closed with. */
  readonly code: number;
}

/** Sends a request and reads its answer to the end, whichever it is. */
export async function http2Ask(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders = {},
  body?: string | Buffer,
): Promise<Http2Response> {
  const stream = session.request({ ':path': '/', ...headers }, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  return http2Answer(stream);
}

/** The answer to a stream, read to its end. */
export async function http2Answer(stream: ClientHttp2Stream): Promise<Http2Response> {
  const interims: IncomingHttpHeaders[] = [];
  let head: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders | undefined;
  let body = '';
  stream.on('error', () => {});
  stream.on('headers', (interim) => interims.push(interim));
  stream.on('response', (response) => {
    head = response;
  });
  stream.on('trailers', (fields) => {
    trailers = fields;
  });
  stream.on('data', (chunk: Buffer) => {
    body += chunk.toString('latin1');
  });
  await new Promise<void>((resolve) => stream.once('close', resolve));
  const status = Number(head[':status'] ?? 0);
  return { status, headers: head, interims, trailers, body, code: stream.rstCode };
}

const FRAME = { data: 0, headers: 1, reset: 3, settings: 4, ping: 6, goaway: 7, window: 8 };
/** A setting of HTTP/2 (RFC 9113, 6.5.2). */
export const MAX_CONCURRENT_STREAMS = 3;
const ACK = 1;
const END_STREAM = 1;
const END_HEADERS = 4;
/** `:status: 200`, as HPACK's static table has it. */
const STATUS_200 = Buffer.from([0x88]);

/** One connection of a {@link frameUpstream}. */
export interface FrameConnection {
  readonly socket: Socket;
  /** Streams that were opened, in order. */
  readonly ids: number[];
  head(id: number, end?: boolean): void;
  data(id: number, text: string, end?: boolean): void;
  reset(id: number, code: number): void;
  /** Lets so many streams be open at a time. */
  allow(streams: number): void;
  /** Says that streams past `last` are not looked at. */
  goaway(last: number, code?: number): void;
}

/** What an HTTP/2 server that is written frame by frame does with a stream that was opened. */
export type OnStream = (connection: FrameConnection, id: number) => void;

/**
 * A server of HTTP/2 without TLS that sends just the frames it is told to, for what Node's own never
 * does: it resets in good order, refuses, and goes away.
 */
export async function frameUpstream(
  onStream: OnStream,
  settings: Record<number, number> = {},
): Promise<{ port: number; connections: FrameConnection[] }> {
  const connections: FrameConnection[] = [];
  const server = createNetServer((socket) => {
    const connection = frameConnection(socket);
    connections.push(connection);
    socket.on('error', () => {});
    closeAfter(() => socket.destroy());
    const list = Object.entries(settings).map(([id, value]) => setting(Number(id), value));
    socket.write(frame(FRAME.settings, 0, 0, Buffer.concat(list)));
    let bytes: Buffer = Buffer.alloc(0);
    let preface = 24;
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length < preface) return;
      bytes = bytes.subarray(preface);
      preface = 0;
      for (let length = frameLength(bytes); length <= bytes.length; length = frameLength(bytes)) {
        const [type, flags] = [bytes[3], bytes[4] ?? 0];
        const id = bytes.readUInt32BE(5);
        if (type === FRAME.settings && !(flags & ACK)) socket.write(frame(FRAME.settings, ACK, 0));
        if (type === FRAME.headers) {
          connection.ids.push(id);
          onStream(connection, id);
        }
        bytes = bytes.subarray(length);
      }
    });
  });
  return { port: await listen(server), connections };
}

function frameConnection(socket: Socket): FrameConnection {
  const send = (type: number, flags: number, id: number, payload: Buffer): void => {
    if (!socket.destroyed) socket.write(frame(type, flags, id, payload));
  };
  return {
    socket,
    ids: [],
    head: (id, end = false) =>
      send(FRAME.headers, END_HEADERS | (end ? END_STREAM : 0), id, STATUS_200),
    data: (id, text, end = false) =>
      send(FRAME.data, end ? END_STREAM : 0, id, Buffer.from(text, 'latin1')),
    reset: (id, code) => send(FRAME.reset, 0, id, word(code)),
    allow: (streams) => send(FRAME.settings, 0, 0, setting(MAX_CONCURRENT_STREAMS, streams)),
    goaway: (last, code = constants.NGHTTP2_NO_ERROR) =>
      send(FRAME.goaway, 0, 0, Buffer.concat([word(last), word(code)])),
  };
}

/** `POST http://a/`, as HPACK has it. */
const POST_HEAD = Buffer.from([0x83, 0x86, 0x84, 0x41, 1, 0x61]);

/**
 * A client of HTTP/2 that has begun an upload, and sends just the frames it is told to: Node's own ends
 * an upload before it resets its stream.
 */
export async function frameUpload(port: number, text: string): Promise<FrameConnection> {
  const socket = connectSocket(port, '127.0.0.1');
  closeAfter(() => socket.destroy());
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  socket.write(frame(FRAME.settings, 0, 0));
  socket.write(frame(FRAME.headers, END_HEADERS, 1, POST_HEAD));
  const connection = frameConnection(socket);
  connection.data(1, text);
  return connection;
}

function frame(type: number, flags: number, id: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
}

function frameLength(bytes: Buffer): number {
  return bytes.length < 9 ? Number.POSITIVE_INFINITY : 9 + bytes.readUIntBE(0, 3);
}

function setting(id: number, value: number): Buffer {
  return Buffer.concat([word(id).subarray(2), word(value)]);
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
