import { connect, type Socket } from 'node:net';
import { closeAfter } from './servers.js';

/** One response, taken apart from raw bytes. */
export interface RawResponse {
  readonly status: number;
  readonly reason: string;
  /** Header lines as they came: pairs of name and value. */
  readonly headers: [string, string][];
  /** The value of the first line of a name. */
  header(name: string): string | undefined;
  /** The body, chunked framing undone, as latin-1 text. */
  readonly body: string;
  /** Trailer lines. */
  readonly trailers: [string, string][];
}

/** A raw connection to a server. */
export interface RawClient {
  readonly socket: Socket;
  write(bytes: string | Buffer): void;
  /** Everything received so far, as latin-1 text. */
  received(): string;
  /** Resolves when what was received satisfies `condition`; rejects after `timeoutMs`. */
  until(condition: (received: string) => boolean, timeoutMs?: number): Promise<string>;
  /** Resolves with everything when the server has closed or reset the connection. */
  closed(timeoutMs?: number): Promise<string>;
  /** Resolves when what was received satisfies `condition`, or with the end of the connection. */
  untilOrClosed(condition: (received: string) => boolean, timeoutMs?: number): Promise<string>;
  /** Whether the connection has ended, in whichever way. */
  hasEnded(): boolean;
  /** Whether the connection ended with a reset. */
  wasReset(): boolean;
}

/** Connects to a port of 127.0.0.1 and sends bytes as they are; closed after the test. */
export async function rawClient(port: number, bytes: string | Buffer = ''): Promise<RawClient> {
  const socket = connect({ port, host: '127.0.0.1' });
  let text = '';
  let ended = false;
  let reset = false;
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const check of [...waiting]) check();
  };
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
    wake();
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    reset ||= error.code === 'ECONNRESET';
  });
  socket.on('close', () => {
    ended = true;
    wake();
  });
  closeAfter(() => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', () => resolve());
    socket.once('error', reject);
  });
  if (bytes.length > 0)
    socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);

  const wait = (done: () => boolean, what: string, timeoutMs: number): Promise<string> =>
    new Promise((resolve, reject) => {
      if (done()) return resolve(text);
      const check = () => {
        if (!done()) return;
        clearTimeout(timer);
        waiting.delete(check);
        resolve(text);
      };
      const timer = setTimeout(() => {
        waiting.delete(check);
        reject(new Error(`${what} did not happen within ${timeoutMs} ms; received:\n${text}`));
      }, timeoutMs);
      waiting.add(check);
    });

  return {
    socket,
    write: (more) =>
      void socket.write(typeof more === 'string' ? Buffer.from(more, 'latin1') : more),
    received: () => text,
    until: (condition, timeoutMs = 10_000) =>
      wait(() => condition(text), 'the expected answer', timeoutMs),
    closed: (timeoutMs = 10_000) => wait(() => ended, 'the end of the connection', timeoutMs),
    untilOrClosed: (condition, timeoutMs = 10_000) =>
      wait(() => ended || condition(text), 'the expected answer or an end', timeoutMs),
    hasEnded: () => ended,
    wasReset: () => reset,
  };
}

/** Sends bytes on a connection of their own and resolves with the first whole final response. */
export async function rawRequest(
  port: number,
  bytes: string | Buffer,
  timeoutMs = 10_000,
): Promise<RawResponse> {
  const client = await rawClient(port, bytes);
  const head = /^(HEAD) /.test(bytes.toString('latin1'));
  try {
    await client.untilOrClosed((text) => parseResponses(text, head, false).length > 0, timeoutMs);
    const [response] = parseResponses(client.received(), head, true);
    if (response === undefined) throw new Error(`no response; received:\n${client.received()}`);
    return response;
  } finally {
    client.socket.destroy();
  }
}

/**
 * The final responses in a stream of bytes; interim ones are left out. With `ended`, a body that is
 * delimited by the end of the connection counts as whole.
 */
export function parseResponses(text: string, head = false, ended = true): RawResponse[] {
  const responses: RawResponse[] = [];
  let rest = text;
  for (;;) {
    const end = rest.indexOf('\r\n\r\n');
    if (end === -1) return responses;
    const [statusLine = '', ...lines] = rest.slice(0, end).split('\r\n');
    const [, status = '0', reason = ''] = /^HTTP\/\d\.\d (\d{3}) ?(.*)$/.exec(statusLine) ?? [];
    rest = rest.slice(end + 4);
    const code = Number(status);
    if (code >= 100 && code < 200) continue;
    const headers = lines.map(pair);
    const header = (name: string) =>
      headers.find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1];
    let body = '';
    let trailers: [string, string][] = [];
    if (head || code === 204 || code === 304) {
      // no body
    } else if (header('transfer-encoding') !== undefined) {
      const chunked = unchunk(rest);
      if (chunked === undefined) return responses;
      ({ body, trailers, rest } = chunked);
    } else if (header('content-length') !== undefined) {
      const length = Number(header('content-length'));
      if (rest.length < length) return responses;
      body = rest.slice(0, length);
      rest = rest.slice(length);
    } else {
      if (!ended) return responses;
      body = rest;
      rest = '';
    }
    responses.push({ status: code, reason, headers, header, body, trailers });
  }
}

function pair(line: string): [string, string] {
  const colon = line.indexOf(':');
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}

function unchunk(
  text: string,
): { body: string; trailers: [string, string][]; rest: string } | undefined {
  let body = '';
  let at = 0;
  for (;;) {
    const line = text.indexOf('\r\n', at);
    if (line === -1) return undefined;
    const size = Number.parseInt(text.slice(at, line), 16);
    if (Number.isNaN(size)) return undefined;
    at = line + 2;
    if (size === 0) break;
    if (text.length < at + size + 2) return undefined;
    body += text.slice(at, at + size);
    at += size + 2;
  }
  const trailers: [string, string][] = [];
  for (;;) {
    const line = text.indexOf('\r\n', at);
    if (line === -1) return undefined;
    if (line === at) return { body, trailers, rest: text.slice(at + 2) };
    trailers.push(pair(text.slice(at, line)));
    at = line + 2;
  }
}
