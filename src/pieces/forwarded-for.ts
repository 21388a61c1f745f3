import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { clientAddress, clientOrigin, peerAddress } from '../exchange/client.js';
import { CertificateMemory } from '../exchange/client-certificate.js';
import { type Exchange, exchangeOf, type Handler } from '../exchange/exchange.js';
import { isForwardingField } from '../exchange/fields.js';
import { type RequestTrusts, type Trust, trustFor } from '../exchange/trust.js';
import { inspect, known, oneOf } from '../options.js';
import { fail } from '../transport/deliver.js';
import { Via } from '../transport/via.js';

/** The fields that {@link forwardedFor} can write. */
export type ForwardedField =
  | 'x-forwarded-for'
  | 'x-forwarded-host'
  | 'x-forwarded-proto'
  | 'x-forwarded-port'
  | 'x-real-ip'
  | 'forwarded';

/** Options for {@link forwardedFor}. */
export interface ForwardedForOptions {
  /**
   * Whose word about the client counts: what Express' `trust proxy` says (`'app'`), everybody's, nobody's,
   * that of the nearest so many hops, of these addresses and ranges (`'loopback'`, `'linklocal'`,
   * `'uniquelocal'` as in Express), or what a function decides.
   *
   * @default 'app'
   */
  readonly trust?: Trust | undefined;
  /**
   * What to write. `'forwarded'` is RFC 7239.
   *
   * @default ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto']
   */
  readonly headers?: ForwardedField | readonly ForwardedField[] | undefined;
  /**
   * Our name in `Via`, by which a request that comes back is known. Gateways in a row need names of
   * their own. `false` writes no `Via` and detects no loop.
   *
   * @default 'headrace'
   */
  readonly via?: string | false | undefined;
  /**
   * Tells the upstream which certificate the client has shown and the server has verified, as
   * `Client-Cert` (RFC 9440); with `'chain'`, those between it and the authority as
   * `Client-Cert-Chain`, too. A trusted peer's own word about its client comes first.
   *
   * @default false
   */
  readonly clientCertificate?: boolean | 'chain' | undefined;
}

const FIELDS: readonly ForwardedField[] = [
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-port',
  'x-real-ip',
  'forwarded',
];

/**
 * Tells the upstream who the client is. From a peer that is not trusted, the client's own claims are
 * replaced or dropped; a trusted peer's are appended to. A request that has been here before gets 508.
 * Where it stands among the pieces makes no difference.
 *
 * @example
 * app.set('trust proxy', 'loopback');
 * app.use(forwardedFor(), proxyPass('http://localhost:3000'));
 */
export function forwardedFor(options: ForwardedForOptions = {}): Handler {
  const {
    trust = 'app',
    headers = ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto'],
    via = 'headrace',
    clientCertificate = false,
  } = known('forwardedFor', options, ['trust', 'headers', 'via', 'clientCertificate']);
  const trusts = trustFor('forwardedFor: trust', trust);
  const fields = fieldsFor(headers);
  const written = new Set<string>(fields);
  const certificates = certificatesFor(clientCertificate);
  const ownVia = via === false ? undefined : new Via('forwardedFor: via', via);

  return function forwardedForMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    let trusted: boolean;
    try {
      ownVia?.sign(exchange);
      const peer = peerAddress(req);
      trusted = peer !== undefined && trusts(req, peer, 0);
      if (!trusted) dropClaims(exchange, written);
      for (const field of fields) write(exchange, field, peer, trusted, trusts);
    } catch (error) {
      return fail(exchange, error, next);
    }
    if (certificates !== undefined && !(trusted && req.headers['client-cert'] !== undefined)) {
      writeCertificate(exchange, certificates, clientCertificate === 'chain');
    }
    next?.();
  };
}

function fieldsFor(headers: ForwardedField | readonly ForwardedField[]): ForwardedField[] {
  const list = typeof headers === 'string' ? [headers] : headers;
  if (!Array.isArray(list)) {
    throw new TypeError(`forwardedFor: headers must be field names, received ${inspect(headers)}`);
  }
  return list.map((name: unknown, i) => {
    const lower = typeof name === 'string' ? name.toLowerCase() : name;
    oneOf(`forwardedFor: headers[${i}]`, lower, FIELDS);
    return lower as ForwardedField;
  });
}

function certificatesFor(option: boolean | 'chain'): CertificateMemory | undefined {
  if (typeof option !== 'boolean' && option !== 'chain') {
    throw new TypeError(
      `forwardedFor: clientCertificate must be true, false or "chain", received ${inspect(option)}`,
    );
  }
  return option === false ? undefined : new CertificateMemory();
}

/** What an untrusted peer says of the client and we do not overwrite. */
function dropClaims(exchange: Exchange, written: ReadonlySet<string>): void {
  for (const name in exchange.req.headers) {
    if (isForwardingField(name) && !written.has(name)) exchange.headers.delete(name);
  }
}

/** RFC 9440, 2.4: what stands in these fields was written here, or is not there. */
function writeCertificate(
  { req, headers }: Exchange,
  certificates: CertificateMemory,
  withChain: boolean,
): void {
  const { cert, chain } = certificates.of(req) ?? { cert: '', chain: '' };
  if (cert === '') headers.delete('client-cert');
  else headers.write('client-cert', 'Client-Cert', cert);
  if (chain === '' || !withChain) headers.delete('client-cert-chain');
  else headers.write('client-cert-chain', 'Client-Cert-Chain', chain);
}

function write(
  exchange: Exchange,
  field: ForwardedField,
  peer: string | undefined,
  trusted: boolean,
  trusts: RequestTrusts,
): void {
  const { req, headers } = exchange;
  switch (field) {
    case 'x-forwarded-for': {
      const before = trusted ? req.headers['x-forwarded-for'] : undefined;
      const own = peer ?? 'unknown';
      return headers.write(field, 'X-Forwarded-For', before ? `${before}, ${own}` : own);
    }
    case 'x-forwarded-proto':
      return headers.write(field, 'X-Forwarded-Proto', clientOrigin(req, trusted).proto);
    case 'x-forwarded-host': {
      const { host } = clientOrigin(req, trusted);
      if (host === undefined) headers.delete(field);
      else headers.write(field, 'X-Forwarded-Host', host);
      return;
    }
    case 'x-forwarded-port':
      return headers.write(field, 'X-Forwarded-Port', port(req, trusted));
    case 'x-real-ip': {
      const address = clientAddress(req, (one, hop) => trusts(req, one, hop));
      return headers.write(
        field,
        'X-Real-IP',
        address !== undefined && isIP(address) ? address : (peer ?? 'unknown'),
      );
    }
    case 'forwarded':
      return headers.write(field, 'Forwarded', forwarded(req, peer, trusted));
  }
}

function port(req: IncomingMessage, trusted: boolean): string {
  const claimed = trusted ? req.headers['x-forwarded-port'] : undefined;
  if (typeof claimed === 'string' && /^\d{1,5}$/.test(claimed)) return claimed;
  const { proto, host } = clientOrigin(req, trusted);
  return /:(\d+)$/.exec(host ?? '')?.[1] ?? (proto === 'https' ? '443' : '80');
}

/** Quoted strings that are closed: only then can an element of ours follow. */
const BALANCED = /^[^"]*(?:"(?:[^"\\]|\\.)*"[^"]*)*$/;

function forwarded(req: IncomingMessage, peer: string | undefined, trusted: boolean): string {
  const { proto, host } = clientOrigin(req, false);
  const node = peer === undefined ? 'unknown' : isIP(peer) === 6 ? `"[${peer}]"` : peer;
  // A host with a port or brackets is no token (RFC 7239, 4), and a valid host has no quote in it.
  const hostPair = host === undefined ? '' : `;host=${/[^\w.~-]/.test(host) ? `"${host}"` : host}`;
  const own = `for=${node}${hostPair};proto=${proto}`;
  const before = trusted ? req.headers.forwarded : undefined;
  return before !== undefined && BALANCED.test(before) ? `${before}, ${own}` : own;
}
