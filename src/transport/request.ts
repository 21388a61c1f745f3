import type { IncomingMessage } from 'node:http';
import { BadRequestError, BodyConsumedError, BodyTooLargeError } from '../exchange/errors.js';
import type { Exchange } from '../exchange/exchange.js';
import { BYTE_FIELDS } from '../exchange/fields.js';
import type { Upstream } from '../upstreams/upstream.js';
import type { Carrier, Limits, SendOptions } from './carrier.js';
import { joinPath } from './join-path.js';
import { hasUpload } from './linger.js';
import { parsedBody, unwritable } from './parsed-body.js';
import { RequestBody } from './request-body.js';
import { climbs, outgoingPath, targetAuthority } from './request-guard.js';
import type { TransportSettings } from './settings.js';
import { wholeUpload } from './whole-upload.js';

/** Methods of which every server that knows them expects a body: those of RFC 9110, WebDAV and its kin. */
const EXPECTS_BODY = new Set([
  ...['POST', 'PUT', 'PATCH', 'QUERY', 'SEARCH', 'PROPFIND', 'PROPPATCH', 'REPORT', 'LOCK', 'ACL'],
  ...['MKCOL', 'MKCALENDAR', 'MKACTIVITY', 'MERGE', 'UPDATE', 'LABEL', 'ORDERPATCH'],
  ...['CHECKIN', 'CHECKOUT', 'VERSION-CONTROL', 'BASELINE-CONTROL'],
]);

const REPLAYABLE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/**
 * An exchange in the form in which it goes out, as undici takes it, and what the transport has to know about it:
 * this is where the edits of all pieces become one request.
 */
export class OutgoingRequest implements SendOptions {
  readonly upstream: Upstream;
  readonly origin: string;
  readonly path: string;
  readonly method: SendOptions['method'];
  readonly headers: string[];
  /** What is sent as `Host`; `undefined` where that is the upstream's own. */
  readonly host: string | undefined;
  readonly body: Buffer | RequestBody | null;
  readonly reset: boolean;
  readonly limits: Limits;
  readonly upgrade: string | null;
  readonly servername: string | undefined;
  readonly replayable: boolean;
  /** For undici to keep, where nothing of ours does. */
  headersTimeout: number | null = null;
  bodyTimeout: number | null = null;
  connection: Carrier | undefined = undefined;

  /** @throws ProxyError when there is something in it that must not be forwarded. */
  constructor(exchange: Exchange, upstream: Upstream, settings: TransportSettings) {
    const { req, method } = exchange;
    const path = outgoingPath(exchange.path);
    const headers: Fields = exchange.headers.flatten();
    const host = hostFor(exchange, settings);
    if (host !== undefined) headers.push('Host', host);
    if (upstream.authorization !== undefined) authorize(exchange, headers, upstream.authorization);

    const upload = hasUpload(req) || isFilled(req);
    this.upstream = upstream;
    this.origin = upstream.origin;
    this.path = targetPath(exchange, upstream, path);
    // undici's type lists the usual methods; any token is one (RFC 9110, 9.1).
    this.method = method as SendOptions['method'];
    this.headers = headers as string[];
    this.host = host;
    this.body = upload ? bodyOf(exchange, upstream, headers, settings) : null;
    // undici closes behind HEAD unless told not to. Behind a body where none is expected it is right:
    // a server that overlooks the body reads it as the next request.
    this.reset = upload && !EXPECTS_BODY.has(method);
    this.limits = settings;
    this.upgrade = exchange.clientEnd === undefined ? null : (exchange.upgrade ?? null);
    // Left to itself, undici takes the name from Host and reconnects whenever it changes.
    this.servername = upstream.protocol === 'https:' ? upstream.hostname : undefined;
    this.replayable = !upload && REPLAYABLE.has(method);
  }
}

function hostFor(exchange: Exchange, { host }: TransportSettings): string | undefined {
  const { req, headers } = exchange;
  if (headers.host !== undefined) return headers.host;
  if (host === 'upstream') return undefined;
  if (host !== 'client') return host;
  const pseudo = req.headers[':authority'] as string | undefined;
  return targetAuthority(req.url ?? '/') ?? req.headers.host ?? pseudo;
}

/** Credentials of the target URL stand in for the client's own, unless the app has set others. */
function authorize(exchange: Exchange, headers: Fields, authorization: string): void {
  const { headers: edits } = exchange;
  // To have taken the client's own away, as `authenticate()` does, is not to have set others.
  if (edits.isEdited('authorization') && edits.has('authorization')) return;
  drop(headers, 'authorization');
  headers.push('Authorization', authorization);
}

function targetPath(exchange: Exchange, upstream: Upstream, path: string): string {
  const based = upstream.basePath !== '' || exchange.isRerouted;
  if (based && climbs(path)) throw new BadRequestError('The path climbs out of its base');
  return joinPath(upstream, path);
}

type Fields = (string | readonly string[])[];

function bodyOf(
  exchange: Exchange,
  upstream: Upstream,
  headers: Fields,
  settings: TransportSettings,
): Buffer | RequestBody | null {
  const { req } = exchange;
  const length = req.headers['content-length'];
  if (length !== undefined && Number(length) > settings.maxBodyBytes) throw new BodyTooLargeError();
  // Of what an earlier try has read, the kept part comes first.
  const kept = exchange.unsentUpload?.length ?? exchange.upload?.chunks?.length ?? 0;
  if (kept === 0 && (req.readableDidRead || req.readableEnded))
    return reparsed(exchange, headers, settings);
  if (length !== undefined) headers.push('Content-Length', String(Number(length)));
  exchange.streamsUpload = true;
  return wholeUpload(exchange) ?? new RequestBody(exchange, upstream, settings);
}

/** A body that other middleware has read and parsed, written out again. */
function reparsed(exchange: Exchange, headers: Fields, settings: TransportSettings): Buffer | null {
  const { req } = exchange;
  // A chunked body can turn out to be empty; parsers make an object of it all the same.
  if (!req.readableDidRead && isEmpty(req)) return null;
  const type = exchange.headers.get('content-type');
  const body = parsedBody(req, type);
  if (body === undefined) {
    throw new BodyConsumedError(
      `The request body was read before proxyPass() and ${unwritable(req, type)}: ` +
        'place proxyPass() before the middleware that reads it',
    );
  }
  if (body.bytes.length > settings.maxBodyBytes) throw new BodyTooLargeError();
  // The parser has undone the coding, and digests were of the bytes before.
  for (const name of BYTE_FIELDS) {
    if (!exchange.headers.isEdited(name)) drop(headers, name);
  }
  if (body.contentType !== undefined) {
    drop(headers, 'content-type');
    headers.push('Content-Type', body.contentType);
  }
  headers.push('Content-Length', String(body.bytes.length));
  return body.bytes;
}

/** Whether the app has put something into a body that came with nothing in it. */
function isFilled(req: IncomingMessage): boolean {
  return req.headers['content-length'] === '0' && req.readableEnded && !isEmpty(req);
}

/** Whether `req.body` holds nothing that the client could have sent. */
function isEmpty(req: IncomingMessage): boolean {
  const { body } = req as IncomingMessage & { body?: unknown };
  if (typeof body === 'object' && body !== null) return Object.keys(body).length === 0;
  return body === undefined || body === null || body === '';
}

function drop(headers: Fields, lower: string): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    if ((headers[i] as string).toLowerCase() === lower) headers.splice(i, 2);
  }
}
