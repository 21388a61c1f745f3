/**
 * What the proxy knows about header fields by name. One owner for the hop-by-hop list and for every
 * other list of names, so that request, response, interim responses and trailers cannot disagree.
 */

/** Plain end-to-end field. */
export const PLAIN = 0;
/** Meant for one connection only (RFC 9110, 7.6.1): never crosses, in either direction. */
export const HOP_BY_HOP = 1;
/** Framing and routing that the transport writes itself: host, content-length, expect. */
export const OWNED = 2;
/** An HTTP/2 pseudo field. */
export const PSEUDO = 4;
/** Its name has characters that CGI-style upstreams fold into dashes: see {@link FieldInfo.alias}. */
export const ALIASED = 8;
/** Further lines add to those already there; every other field is replaced as a whole. */
export const LIST = 16;

/** What is known of one spelling of a field name. */
export interface FieldInfo {
  readonly spelling: string;
  readonly lower: string;
  readonly flags: number;
  /**
   * The name a CGI-style upstream reads this one as: `X_Forwarded_For` reaches an application as
   * `HTTP_X_FORWARDED_FOR`, like the real one. The same as `lower` for names without odd characters.
   */
  readonly alias: string;
  /** What a line of this name begins with in a head, the end of the line before it included. */
  readonly opening: string;
}

/** Fields that describe one hop (RFC 9110, 7.6.1 and its appendix of legacy names). */
export const HOP_BY_HOP_FIELDS: readonly string[] = [
  'connection',
  'proxy-connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
];

/** Fields that HTTP/2 has no use for (RFC 9113, 8.2.2); Node throws at them. */
export const HTTP1_ONLY: ReadonlySet<string> = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/** Fields about the very bytes of a body, wrong once those are others; in requests and responses alike. */
export const BYTE_FIELDS: readonly string[] = [
  'content-encoding',
  'content-md5',
  'content-digest',
  'repr-digest',
  'digest',
];

const OWNED_FIELDS: readonly string[] = ['host', 'content-length', 'expect'];

/** Fields by which proxies tell who the client is; replaced or dropped when the peer is not trusted. */
const FORWARDING_FIELDS: readonly string[] = [
  'forwarded',
  'x-real-ip',
  'x-client-ip',
  'true-client-ip',
  'client-cert',
  'client-cert-chain',
];

/** Trailers that must not carry framing, routing, authentication or content facts (RFC 9110, 6.5.1). */
const FORBIDDEN_TRAILERS = new Set([
  ...HOP_BY_HOP_FIELDS,
  ...OWNED_FIELDS,
  'age',
  'authorization',
  'cache-control',
  'content-encoding',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'location',
  'max-forwards',
  'range',
  'retry-after',
  'set-cookie',
  'vary',
  'www-authenticate',
]);

const LIST_FIELDS: readonly string[] = [
  'set-cookie',
  'vary',
  'link',
  'www-authenticate',
  'server-timing',
  'via',
  'ratelimit',
  'ratelimit-policy',
];

const ODD_CHARACTERS = /[^a-z0-9-]/;
const MAX_REMEMBERED = 2_048;
const MAX_REMEMBERED_LENGTH = 64;
const remembered = new Map<string, FieldInfo>();

/** Looks a spelling up. The answers are remembered, up to a bound that no client can pass. */
export function fieldInfo(spelling: string): FieldInfo {
  return remembered.get(spelling) ?? classify(spelling);
}

/** The name last met in each place, which a few of its bytes decide. */
const places: (FieldInfo | undefined)[] = new Array(256).fill(undefined);

/** Looks up a name that has come as bytes. Of the few names that come all the time, no string is made anew. */
export function fieldNamed(bytes: Buffer): FieldInfo {
  const place = placeOf(bytes);
  const met = places[place];
  if (met !== undefined && spells(met.spelling, bytes)) return met;
  const info = fieldInfo(bytes.toString('latin1'));
  if (bytes.length <= MAX_REMEMBERED_LENGTH) places[place] = info;
  return info;
}

function placeOf(bytes: Buffer): number {
  const { length } = bytes;
  const first = bytes[0] as number;
  const middle = bytes[length >> 1] as number;
  const last = bytes[length - 1] as number;
  return (31 * length + 7 * first + 3 * middle + last) & 0xff;
}

function spells(spelling: string, bytes: Buffer): boolean {
  if (spelling.length !== bytes.length) return false;
  for (let i = 0; i < bytes.length; i++) if (spelling.charCodeAt(i) !== bytes[i]) return false;
  return true;
}

function classify(spelling: string): FieldInfo {
  const lower = spelling.toLowerCase();
  const pseudo = lower.startsWith(':');
  const odd = !pseudo && ODD_CHARACTERS.test(lower);
  let flags = PLAIN;
  if (HOP_BY_HOP_FIELDS.includes(lower)) flags |= HOP_BY_HOP;
  if (OWNED_FIELDS.includes(lower)) flags |= OWNED;
  if (LIST_FIELDS.includes(lower)) flags |= LIST;
  if (pseudo) flags |= PSEUDO;
  if (odd) flags |= ALIASED;
  const info = {
    spelling,
    lower,
    flags,
    alias: odd ? lower.replace(/[^a-z0-9]/g, '-') : lower,
    opening: inOnePiece(`\r\n${spelling}: `),
  };
  if (spelling.length <= MAX_REMEMBERED_LENGTH) {
    // Names that somebody made up must not keep those out that everybody uses.
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    remembered.set(spelling, info);
  }
  return info;
}

/** V8 makes a tree of what is put together, which everything that it becomes part of has to walk through. */
function inOnePiece(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

/** Whether a CGI-style alias would be taken for a field that proxies set, strip or frame with. */
export function isReservedAlias(alias: string): boolean {
  return (fieldInfo(alias).flags & (HOP_BY_HOP | OWNED)) !== 0 || isForwardingField(alias);
}

/** Whether a lower-case name is one of those that tell who the client is. */
export function isForwardingField(lower: string): boolean {
  return lower.startsWith('x-forwarded-') || FORWARDING_FIELDS.includes(lower);
}

/** Whether a field may be sent after the body. */
export function isAllowedTrailer(lower: string): boolean {
  return !FORBIDDEN_TRAILERS.has(lower) && !isForwardingField(lower);
}

/**
 * The fields that `Connection` nominates as hop-by-hop, in lower case, without the plain options;
 * `undefined` in the usual case that there are none.
 */
export function nominated(connection: string | undefined): string[] | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close')
    return undefined;
  let names: string[] | undefined;
  for (const token of connection.split(',')) {
    const name = token.trim().toLowerCase();
    if (name === '' || name === 'close' || fieldInfo(name).flags & HOP_BY_HOP) continue;
    names ??= [];
    names.push(name);
  }
  return names;
}

const TRAILERS = /(?:^|,)[ \t]*trailers[ \t]*(?:$|,|;)/i;

/** Whether a `TE` value says that trailers are welcome: the one meaning of it that may be passed on. */
export function acceptsTrailers(te: string): boolean {
  return te === 'trailers' || TRAILERS.test(te);
}
