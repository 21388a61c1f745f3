import type { IncomingMessage } from 'node:http';
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';
import { isHttp2 } from './answers.js';

/** The certificates of a client as fields have them (RFC 9440, 2). */
export interface CertificateFields {
  /** The client's own. */
  readonly cert: string;
  /** What leads from it to the authority that is trusted, without that; empty when nothing does. */
  readonly chain: string;
}

/**
 * Knows the fields for the certificate that a client has shown, once for each connection: to take a
 * certificate apart costs more than all the rest of a request's header.
 */
export class CertificateMemory {
  readonly #known = new WeakMap<object, CertificateFields>();

  /** Of this request's client; `undefined` when it has shown no certificate that could be verified. */
  of(req: IncomingMessage): CertificateFields | undefined {
    const socket = req.socket as Partial<TLSSocket>;
    if (socket.authorized !== true) return undefined;
    const connection = (isHttp2(req) ? req.stream.session : undefined) ?? socket;
    let fields = this.#known.get(connection);
    if (fields === undefined) {
      fields = fieldsOf(socket.getPeerCertificate?.(true));
      if (fields !== undefined) this.#known.set(connection, fields);
    }
    return fields;
  }
}

function fieldsOf(own: DetailedPeerCertificate | undefined): CertificateFields | undefined {
  // Without a certificate, Node gives an empty object.
  if (own?.raw === undefined) return undefined;
  const chain: string[] = [];
  let { issuerCertificate: next } = own;
  // The last one is its own issuer: the trust anchor, which is left out.
  while (next?.raw !== undefined && next.issuerCertificate !== next) {
    chain.push(byteSequence(next.raw));
    next = next.issuerCertificate;
  }
  return { cert: byteSequence(own.raw), chain: chain.join(', ') };
}

/** RFC 8941, 3.3.5. */
function byteSequence(bytes: Buffer): string {
  return `:${bytes.toString('base64')}:`;
}
