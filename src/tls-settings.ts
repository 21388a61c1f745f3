import { ADDRCONFIG, ALL, V4MAPPED } from 'node:dns';
import { isIP } from 'node:net';
import { createSecureContext, type ConnectionOptions as TlsOptions } from 'node:tls';
import { inspect, isPlain, known, wholeNumber } from './options.js';

/** What `tls.connect()` knows, where it is not for headrace to say. */
const TLS_OPTIONS = [
  ...['ca', 'cert', 'key', 'pfx', 'passphrase', 'crl', 'secureContext', 'allowPartialTrustChain'],
  ...['rejectUnauthorized', 'checkServerIdentity', 'servername', 'requestOCSP', 'pskCallback'],
  ...['ciphers', 'sigalgs', 'ecdhCurve', 'dhparam', 'minDHSize', 'honorCipherOrder'],
  ...['minVersion', 'maxVersion', 'secureProtocol', 'secureOptions', 'sessionTimeout', 'session'],
  ...[
    'clientCertEngine',
    'privateKeyEngine',
    'privateKeyIdentifier',
    'enableTrace',
    'ALPNProtocols',
  ],
  ...['lookup', 'family', 'hints', 'localAddress', 'localPort', 'autoSelectFamily'],
  ...['autoSelectFamilyAttemptTimeout', 'keepAlive', 'keepAliveInitialDelay', 'noDelay'],
] as readonly string[] as readonly (keyof TlsOptions & string)[];

/** What those must be that Node looks at with each connection, and not before. */
const TYPES: readonly (readonly [what: string, type: string, names: readonly string[]])[] = [
  ['a function', 'function', ['lookup', 'checkServerIdentity', 'pskCallback']],
  ['true or false', 'boolean', ['rejectUnauthorized', 'autoSelectFamily', 'requestOCSP']],
  ['a name', 'string', ['servername']],
  ['an object', 'object', ['secureContext', 'session']],
];

/** The numbers among them, and the largest. */
const NUMBERS: readonly (readonly [name: string, min: number, max: number])[] = [
  ['localPort', 0, 65_535],
  ['minDHSize', 1, 2 ** 31 - 1],
  ['autoSelectFamilyAttemptTimeout', 1, 2 ** 31 - 1],
];
/** Either family of addresses, IPv4, IPv6. */
const FAMILIES: readonly unknown[] = [0, 4, 6];
const HINTS = ADDRCONFIG | V4MAPPED | ALL;

/** Those that are text in PEM. Node passes over authorities that are anything else, and trusts nobody then. */
const PEM_OPTIONS = ['ca', 'cert', 'key', 'crl'] as const;

const FILE_NAME = /[\\/]|\.(?:pem|crt|cer|key)$/i;

/** @throws TypeError or RangeError that names `path` and what is wrong, if TLS cannot be spoken with these. */
export function checkTls(path: string, tls: TlsOptions): void {
  if (!isPlain(tls)) {
    throw new TypeError(`${path} must be an object, received ${inspect(tls)}`);
  }
  known(path, tls, TLS_OPTIONS);
  for (const name of PEM_OPTIONS) checkPem(`${path}.${name}`, tls[name]);
  for (const [what, type, names] of TYPES) {
    for (const name of names) {
      const value: unknown = tls[name as keyof TlsOptions];
      if (value === undefined || typeof value === type) continue;
      throw new TypeError(`${path}.${name} must be ${what}, received ${inspect(value)}`);
    }
  }
  for (const [name, min, max] of NUMBERS) {
    const value = tls[name as keyof TlsOptions] as number | undefined;
    if (value !== undefined) wholeNumber(`${path}.${name}`, value, min, max);
  }
  const { family = 0, hints = 0 } = tls as { family?: unknown; hints?: unknown };
  if (!FAMILIES.includes(family)) {
    throw new TypeError(`${path}.family must be 0, 4 or 6, received ${inspect(family)}`);
  }
  const { localAddress } = tls as { localAddress?: unknown };
  if (localAddress !== undefined && isIP(String(localAddress)) === 0) {
    throw new TypeError(
      `${path}.localAddress must be an address, received ${inspect(localAddress)}`,
    );
  }
  if (typeof hints !== 'number' || (hints & ~HINTS) !== 0) {
    throw new TypeError(`${path}.hints must be flags of node:dns, received ${inspect(hints)}`);
  }
  try {
    if (tls.secureContext === undefined) createSecureContext(tls);
  } catch (cause) {
    throw new TypeError(`${path} cannot be used: ${(cause as Error).message}`, { cause });
  }
}

/** Contents of files are meant; the name of one in their place is what everybody writes once. */
function checkPem(path: string, value: unknown): void {
  for (const pem of Array.isArray(value) ? value : [value]) {
    if (typeof pem === 'string' && FILE_NAME.test(pem) && !pem.includes('-----BEGIN')) {
      throw new TypeError(`${path} must be PEM: the contents of a file, and not its name`);
    }
  }
}
