import { inspect } from '../options.js';

/** A target taken apart. */
export interface Target {
  readonly url: URL;
  /** The Unix domain socket to connect to instead of the URL's host. */
  readonly socketPath: string | undefined;
}

/** `unix:/path/to.sock`, with the base path behind a second colon as nginx writes it. */
const UNIX = /^unix:(\/[^:?#]+)(?::(\/[^#]*)|(\?[^#]*))?$/;

/** @throws TypeError that names `path` when the target is no `http:`, `https:` or `unix:` URL. */
export function parseTarget(target: unknown, path: string): Target {
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
  throw new TypeError(`${path} must be an http(s) URL, received ${inspect(target)}${hint(text)}`);
}

/** A scheme is easily left out, and WebSockets begin as HTTP. */
const LACKS_SCHEME = /^(?:localhost|[\w.-]+:\d+|\[[\da-f:]+\])(?:[:/]|$)/i;
const WEBSOCKET = /^ws(?=s?:\/\/)/i;

/** What was probably meant. */
function hint(text: unknown): string {
  if (typeof text !== 'string') return '';
  const meant = LACKS_SCHEME.test(text) ? `http://${text}` : text.replace(WEBSOCKET, 'http');
  return meant !== text && URL.canParse(meant) ? `, did you mean ${inspect(meant)}?` : '';
}

/** `Authorization` from the credentials in a URL. @throws TypeError when they cannot be decoded. */
export function basicAuthorization(url: URL, path: string): string | undefined {
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
