import type { IncomingMessage } from 'node:http';
import { mountPath } from './client.js';

/** What Express knows of the route that a request has taken. */
interface RoutedRequest extends IncomingMessage {
  route?: { path?: unknown };
  params?: Readonly<Record<string, unknown>>;
}

/** What stands for the rest of a path below a mount. */
const BELOW = '/*';

/**
 * The pattern of the route that a request is on: `/users/:id` for a route, `/api/*` below a mount, `/*`
 * where there is neither. What came in for parameters is not in it, as far as Express tells what they are.
 */
export function routeOf(req: IncomingMessage): string {
  const { route, params } = req as RoutedRequest;
  const pattern = route === undefined ? BELOW : patternOf(route.path);
  const mount = mountPath(req);
  if (mount === '') return pattern;
  const below = pattern === '/' ? '' : pattern;
  return `${mountPattern(mount, params)}${below}`;
}

function patternOf(path: unknown): string {
  return Array.isArray(path) ? path.map(String).join('|') : String(path);
}

/** A mount as the request wrote it, with names in place of the values of parameters. */
function mountPattern(mount: string, params: RoutedRequest['params']): string {
  // Mounts match in any case of letters.
  const written = mount.toLowerCase();
  const names = params === undefined ? [] : Object.keys(params);
  if (names.length === 0) return written;
  const known = new Map<string, string>();
  for (const name of names) {
    for (const value of valuesOf(params?.[name])) known.set(value.toLowerCase(), `:${name}`);
  }
  const segments = written.split('/').map((one) => known.get(decoded(one)) ?? one);
  return segments.filter((one, i) => i < 2 || one !== segments[i - 1]).join('/');
}

/** A wildcard matches many segments: Express 5 has them in an array, Express 4 in one text. */
function valuesOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.map(String);
  return typeof value === 'string' && value !== '' ? value.split('/') : [];
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment).toLowerCase();
  } catch {
    return segment;
  }
}
