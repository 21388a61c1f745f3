import type { AsyncResource } from 'node:async_hooks';
import { ServerResponse, STATUS_CODES } from 'node:http';
import { finished, Readable } from 'node:stream';
import { isGone, isHttp2 } from '../exchange/answers.js';
import {
  BadResponseError,
  isProxyError,
  ModifyResponseError,
  type ProxyError,
} from '../exchange/errors.js';
import type { Exchange } from '../exchange/exchange.js';
import { fieldInfo, HOP_BY_HOP, HTTP1_ONLY, LIST } from '../exchange/fields.js';
import { forbidsBody, type UpstreamResponse } from '../exchange/upstream-response.js';
import type { Upstream } from '../upstreams/upstream.js';
import { breakOff } from './break-off.js';
import { checkedStream } from './checked-stream.js';
import { Departures } from './departures.js';
import { flushHead } from './flush-head.js';
import { http2Lines, isSingleLine, removeLines } from './http2-lines.js';
import { closeBehindUpload, lingerOnUpload } from './linger.js';
import { writePlainHead } from './plain-head.js';
import { limitSlowReader } from './slow-reader.js';
import { Unsent } from './unsent.js';

/** Up to here, a body is cheaper as text in the same write as its head than as a write of its own. */
const ONE_WRITE_BYTES = 16_384;
/** What is longer is sent in pieces, as the client takes them. */
const AT_ONCE_BYTES = 262_144;
const PIECE_BYTES = 65_536;

/**
 * Sends a response to the client: its head, and whatever its body has become.
 *
 * @throws ProxyError while nothing has been sent; later errors break the connection.
 */
export function sendAnswer(exchange: Exchange, response: UpstreamResponse): void {
  const { res } = exchange;
  const { content, status } = response;
  if (status >= 300) closeBehindUpload(exchange);
  if (status === 101) {
    // Behind it, there is a tunnel in place of a body, whatever has been assigned.
    response.relayTo(res, writeHead);
  } else if (isBodyless(res, response)) {
    writeHead(res, response);
    response.discard();
    sendNothing(exchange);
  } else if (content.at === 'wire') {
    response.relayTo(res, writeHead);
  } else if (content.at === 'memory' || content.at === 'edit') {
    const { bytes } = content;
    writeHead(res, response, bytes.length);
    if (bytes.length > AT_ONCE_BYTES) sendStream(exchange, Readable.from(piecesOf(bytes)));
    else sendWhole(exchange, bytes);
  } else if (content.at === 'stream') {
    const { errored } = content.stream;
    if (errored) throw asEditFailure(errored, response.upstream);
    writeHead(res, response);
    const stream = checkedStream(content.stream, response.headers.get('content-length'));
    if (content.isCopied) stream.once('end', () => endCopied(exchange, response));
    sendStream(exchange, stream);
  } else {
    const reason = content.at === 'taken' ? 'stream() took its body' : 'it has been discarded';
    const cause = new Error(`The response cannot be sent: ${reason}`);
    throw new ModifyResponseError({ cause, upstream: response.upstream });
  }
}

/** As it is before anybody wraps it. */
const { end } = ServerResponse.prototype;

const departures = new Departures(leave);
/** What has been ended and waits for its client. */
export const unsent = new Unsent();

function* piecesOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}

/** Ends an answer of which the rest, `last`, is known, together with the others of this turn. */
export function sendWhole(exchange: Exchange, last?: Buffer): void {
  const { socket } = exchange.res;
  // What TLS gets at the end of a turn is not out before the client's next request is read, and Node, which then
  // takes that for one behind an answer of some length, may end the connection under it.
  if (socket !== null && 'encrypted' in socket) leave(exchange, last);
  else departures.add(exchange, last);
  lingerOnUpload(exchange.req, exchange.res);
}

/** In HTTP/2, such a head ends its stream: an answer that has not been ended by then would count as broken off. */
function sendNothing(exchange: Exchange): void {
  if (!isHttp2(exchange.res)) return sendWhole(exchange);
  leave(exchange);
  lingerOnUpload(exchange.req, exchange.res);
}

/** A small body leaves in one write with the head before it; what others have put in the way gets bytes. */
function leave(exchange: Exchange, last?: Buffer, context?: AsyncResource): void {
  const { res } = exchange;
  // Meanwhile somebody else has ended it, or the client has left.
  if (res.writableEnded || isGone(res)) return;
  try {
    if (last === undefined) res.end();
    else if (last.length > ONE_WRITE_BYTES || res.end !== end) res.end(last);
    else res.end(last.toString('latin1'), 'latin1');
    unsent.add(exchange, context);
  } catch (error) {
    endFailed(exchange, error);
  }
}

/** Middleware that has put its own `end` on the answer failed. */
export function endFailed(exchange: Exchange, error: unknown): void {
  exchange.failure = error;
  exchange.settle('failed', error);
  breakOff(exchange.res);
}

/** What is on the wire behind a body goes with its copy, too. */
function endCopied(exchange: Exchange, { trailers }: UpstreamResponse): void {
  if (trailers === undefined) return;
  try {
    addTrailers(exchange.res, trailers);
  } catch (error) {
    endFailed(exchange, error);
  }
}

/** Has trailers sent behind the body. */
export function addTrailers(res: ServerResponse, trailers: [string, string][]): void {
  if (isHttp2(res)) res.addTrailers(http2Lines(trailers.flat()) as Record<string, string>);
  else res.addTrailers(trailers);
}

/** Sets the fields that an error brings along. HTTP/2 has no `Connection`, and Node warns of it. */
export function setErrorFields(
  res: ServerResponse,
  headers: Readonly<Record<string, string>> = {},
): void {
  for (const [name, value] of Object.entries(headers)) {
    if (name !== 'connection' || !isHttp2(res)) res.setHeader(name, value);
  }
}

/** `compression` holds back what it has until it is told to flush. */
export function flushCompressed(res: ServerResponse): void {
  const { flush } = res as ServerResponse & { flush?: () => void };
  if (flush !== undefined && flush !== legacyFlush) flush.call(res);
}

/** Node's own, deprecated `flush` has nothing to do with compression. */
const legacyFlush = (ServerResponse.prototype as { flush?: () => void }).flush;

const PRINTABLE = /^[\t\x20-\x7e]*$/;

function writeHead(res: ServerResponse, response: UpstreamResponse, length?: number): void {
  const { headers, status, statusText } = response;
  // RFC 9112, 6: the length is ours to state, and never beside a transfer coding.
  if (length !== undefined) {
    if (headers.get('content-length') !== String(length)) headers.set('Content-Length', length);
  } else if (!isBodyless(res, response) || forbidsLength(status)) {
    if (response.content.at !== 'stream') headers.delete('content-length');
  }
  const usual = STATUS_CODES[status] ?? 'Unknown';
  const reason =
    statusText !== '' && (statusText === usual || PRINTABLE.test(statusText)) ? statusText : usual;
  const lines = headers.flat();
  try {
    if (!isHttp2(res) && writePlainHead(res, status, reason, lines)) return;
    ownFraming(res, response);
    // Behind a length, Node takes the bytes of a Content-Disposition for UTF-8, and writes what that says as Latin-1.
    const late = lines.findIndex((name, i) => i % 2 === 0 && isLength(name));
    for (let i = 0; i < lines.length; i += 2) if (i !== late) setLine(res, lines, i);
    if (late !== -1) setLine(res, lines, late);
    // HTTP/2 has no reason phrases, and Node warns of each.
    if (!isHttp2(res)) res.writeHead(status, reason);
    else if (length === 0 && !Object.hasOwn(res, 'writeHead')) res.statusCode = status;
    else res.writeHead(status);
  } catch (cause) {
    removeLines(res, lines);
    // The reason of the status that was not sent.
    if (!isHttp2(res)) res.statusMessage = '';
    throw new BadResponseError({ cause, upstream: response.upstream });
  }
}

function isLength(name: string): boolean {
  return name.length === 14 && name.toLowerCase() === 'content-length';
}

/** Node believes what middleware has set of the framing on `res`, and would write it beside ours. */
function ownFraming(res: ServerResponse, response: UpstreamResponse): void {
  if (res.hasHeader('content-length')) res.removeHeader('content-length');
  const codes = res.hasHeader('transfer-encoding');
  const trails = res.hasHeader('trailer');
  if (!codes && !trails) return;
  const sized = response.headers.has('content-length') || isBodyless(res, response);
  // There are none behind a body of known length.
  if (trails && sized) res.removeHeader('trailer');
  if (!codes) return;
  // Once it has been removed, Node no longer chunks of its own accord.
  if (sized || res.req.httpVersionMinor === 0) res.removeHeader('transfer-encoding');
  else res.setHeader('Transfer-Encoding', 'chunked');
}

/** Puts one line on `res`: in place of what middleware has set, unless both belong to a list. */
function setLine(res: ServerResponse, lines: readonly string[], i: number): void {
  const name = lines[i] as string;
  const { lower, flags } = fieldInfo(name);
  if (lower === 'transfer-encoding' || lower === 'trailer') return;
  // Kept by stripHopHeaders({ keep }), for clients that can be told of it.
  if (flags & HOP_BY_HOP && isHttp2(res) && HTTP1_ONLY.has(lower)) return;
  if (flags & LIST ? res.hasHeader(name) : isRepeat(lines, i, name.length, lower)) {
    if (!isSingleLine(res, lower)) res.appendHeader(name, lines[i + 1] as string);
  } else {
    res.setHeader(name, lines[i + 1] as string);
  }
}

function isRepeat(lines: readonly string[], end: number, length: number, lower: string): boolean {
  for (let i = 0; i < end; i += 2) {
    const name = lines[i] as string;
    if (name.length === length && name.toLowerCase() === lower) return true;
  }
  return false;
}

function isBodyless(res: ServerResponse, response: UpstreamResponse): boolean {
  if (res.req.method === 'HEAD' || forbidsBody(response.status)) return true;
  // RFC 9110, 15.3.6: it has none either, and in HTTP/2 Node sees to that.
  return response.status === 205 && isHttp2(res);
}

function forbidsLength(status: number): boolean {
  return status === 204 || status === 205 || status < 200;
}

function sendStream(exchange: Exchange, stream: Readable): void {
  const { req, res } = exchange;
  flushHead(res);
  stream.pipe(res);
  // Behind the pipe: what is flushed is what has just been written.
  stream.on('data', () => flushCompressed(res));
  limitSlowReader(exchange);
  res.once('close', () => stream.destroy());
  finished(stream, { writable: false }, (cause) => {
    lingerOnUpload(req, res);
    if (cause === null || cause === undefined) return;
    const { upstream } = exchange;
    exchange.settle('failed', asEditFailure(cause, upstream));
    breakOff(res);
  });
}

function asEditFailure(cause: unknown, upstream: Upstream | undefined): ProxyError {
  return isProxyError(cause) ? cause : new ModifyResponseError({ cause, upstream });
}
