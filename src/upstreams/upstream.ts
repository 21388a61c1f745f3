import { isIP } from 'node:net';
import { inspect, known } from '../options.js';

/** How an upstream is named: a URL, or an object with more to say about it. */
export type UpstreamInit = string | URL | UpstreamOptions;

/** One entry of a list of upstreams. */
export interface UpstreamOptions {
  /** `http:`, `https:` or `unix:/path/to.sock`, with an optional base path and query. */
  readonly url: string | URL;
}

/** What a connection can be closed by; the transport keeps its connections on the upstream. */
export interface Closable {
  close(): Promise<void>;
}

/** One server that requests can go to, parsed once. */
export class Upstream {
  /** The URL without credentials: fit for logs. */
  readonly url: string;
  /** Scheme and authority, as the transport connects to it. */
  readonly origin: string;
  readonly protocol: 'http:' | 'https:';
  /** The host name or address, brackets of IPv6 literals off. */
  readonly hostname: string;
  /** The name that TLS asks for and checks; empty for addresses, which SNI cannot carry. */
  readonly servername: string;
  /** The path that comes before the request's, without a slash at its end; usually empty. */
  readonly basePath: string;
  /** The query that comes before the request's, without its question mark. */
  readonly query: string;
  /** The Unix domain socket to connect to instead of a host. */
  readonly socketPath: string | undefined;
  // Private, so that nothing that prints or spreads an upstream shows credentials or TLS keys.
  readonly #authorization: string | undefined;
  readonly #connections = new Map<object, Closable>();

  /** @throws TypeError that names `path` when the target is not one of the forms above. */
  constructor(init: UpstreamInit, path = 'Upstream: url') {
    const target =
      typeof init === 'object' && !(init instanceof URL) ? optionsUrl(init, path) : init;
    const { url, socketPath } = parse(target, path);
    this.protocol = url.protocol as 'http:' | 'https:';
    this.origin = url.origin;
    this.hostname = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
    this.servername = isIP(this.hostname) ? '' : this.hostname;
    this.basePath = url.pathname.endsWith('/') ? url.pathname.slice(0, -1) : url.pathname;
    this.query = url.search.slice(1);
    this.socketPath = socketPath;
    this.#authorization = basicAuthorization(url, path);
    this.url =
      socketPath === undefined
        ? `${url.origin}${this.basePath}${url.search}`
        : `unix:${socketPath}${this.basePath && `:${this.basePath}`}${url.search}`;
  }

  /** `Authorization` from the credentials in the URL. */
  get authorization(): string | undefined {
    return this.#authorization;
  }

  /**
   * The connections to it, by the settings they were made with. They belong to the upstream so that
   * pipelines that share it share them, and so that they end with it.
   *
   * @internal
   */
  get connections(): Map<object, Closable> {
    return this.#connections;
  }

  toString(): string {
    return this.url;
  }

  toJSON(): object {
    return { url: this.url };
  }

  /** Closes the connections: what is in flight on them finishes first. */
  async close(): Promise<void> {
    const connections = [...this.#connections.values()];
    this.#connections.clear();
    await Promise.all(connections.map((connection) => connection.close()));
  }
}

function optionsUrl(options: UpstreamOptions, path: string): string | URL {
  return known(path.replace(/[.:]\s*url$/, ''), options, ['url']).url;
}

/** `unix:/path/to.sock`, with the base path behind a second colon as nginx writes it. */
const UNIX = /^unix:(\/[^:?#]+)(?::(\/[^#]*)|(\?[^#]*))?$/;

function parse(target: unknown, path: string): { url: URL; socketPath: string | undefined } {
  const text = target instanceof URL ? target.href : target;
  if (typeof text === 'string') {
    const unix = UNIX.exec(text);
    if (unix !== null) {
      const url = new URL(`http://localhost${unix[2] ?? `/${unix[3] ?? ''}`}`);
      return { url, socketPath: unix[1] };
    }
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url && /^https?:\/\//i.test(text) && url.hash === '') return { url, socketPath: undefined };
  }
  throw new TypeError(`${path} must be an http(s) URL, received ${inspect(target)}`);
}

function basicAuthorization(url: URL, path: string): string | undefined {
  const { username, password } = url;
  if (username === '' && password === '') return undefined;
  try {
    const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    return `Basic ${Buffer.from(credentials).toString('base64')}`;
  } catch {
    throw new TypeError(
      `${path} has credentials that are not percent-encoded, received ${inspect(url)}`,
    );
  }
}
