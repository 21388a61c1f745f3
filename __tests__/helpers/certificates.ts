import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** A key and the certificate for it, in PEM. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** Who signs certificates: nobody trusts it unless told to. */
export interface Authority extends Certificate {
  /** Makes a certificate for a host name or an address. */
  issue(name: string): Promise<Certificate>;
  /** Makes an authority under this one; its certificates come with its own behind them. */
  under(): Promise<Authority>;
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Makes a certificate that signs itself. */
export function selfSigned(name: string): Promise<Certificate> {
  return inDirectory(async (file) => {
    const out = ['-keyout', file('key'), '-out', file('cert')];
    const names = ['-subj', `/CN=${name}`, '-addext', alternative(name)];
    await openssl('req', '-x509', '-days', '2', ...NEW_KEY, ...names, ...out);
    return read(file);
  });
}

/** Makes an authority of one's own. */
export async function authority(): Promise<Authority> {
  return signing(await selfSigned('authority.test'), '');
}

function signing(own: Certificate, chain: string): Authority {
  const sign = (name: string, extensions: string): Promise<Certificate> =>
    inDirectory(async (file) => {
      await writeFile(file('ca.key'), own.key);
      await writeFile(file('ca'), own.cert);
      await writeFile(file('extensions'), extensions);
      const out = ['-keyout', file('key'), '-out', file('request')];
      await openssl('req', '-new', ...NEW_KEY, '-subj', `/CN=${name}`, ...out);
      const signer = ['-CA', file('ca'), '-CAkey', file('ca.key'), '-set_serial', `${Date.now()}`];
      const signed = ['-in', file('request'), '-extfile', file('extensions'), '-out', file('cert')];
      await openssl('x509', '-req', '-days', '2', ...signer, ...signed);
      const { key, cert } = await read(file);
      return { key, cert: cert + chain };
    });
  return {
    ...own,
    issue: (name) => sign(name, alternative(name)),
    under: async () => {
      const lower = await sign('intermediate.test', 'basicConstraints=critical,CA:TRUE');
      return signing(lower, lower.cert);
    },
  };
}

type Path = (name: string) => string;

async function inDirectory<T>(use: (file: Path) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'headrace-'));
  try {
    return await use((name) => join(directory, name));
  } finally {
    await rm(directory, { recursive: true });
  }
}

function alternative(name: string): string {
  return `subjectAltName=${isIP(name) ? 'IP' : 'DNS'}:${name}`;
}

async function openssl(...args: string[]): Promise<void> {
  await promisify(execFile)('openssl', args);
}

async function read(file: Path): Promise<Certificate> {
  return { key: await readFile(file('key'), 'utf8'), cert: await readFile(file('cert'), 'utf8') };
}
