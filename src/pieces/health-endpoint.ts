import type { IncomingMessage, ServerResponse } from 'node:http';
import { mountPath } from '../exchange/client.js';
import { exchangeOf, type Handler, type Next } from '../exchange/exchange.js';
import { callable, inspect, isPlain, known, saidYes, wholeNumber } from '../options.js';
import { fail } from '../transport/deliver.js';
import type { UpstreamPool } from '../upstreams/pool.js';

/** Options for {@link healthEndpoint}. */
export interface HealthEndpointOptions {
  /**
   * The pools that have to be able to serve, by the names that they get in the answer.
   *
   * @default {}
   */
  readonly pools?: Readonly<Record<string, UpstreamPool>> | undefined;
  /**
   * How many upstreams of a pool have to be eligible: one number for all pools, or one for each name.
   *
   * @default 1
   */
  readonly atLeast?: number | Readonly<Record<string, number>> | undefined;
  /** Says that the process is about to end: it is no longer ready then. */
  readonly draining?: (() => boolean) | undefined;
}

/** A {@link healthEndpoint} in place. */
export interface HealthEndpoint extends Handler {
  /** Answers 200 whatever the path: the process is alive. */
  readonly live: Handler;
  /** Answers 200 or 503 whatever the path: whether requests should be sent here. */
  readonly ready: Handler;
}

/** What is asked at each path, below the one that the endpoint is mounted at. */
const PATHS: Readonly<Record<string, 'live' | 'ready'>> = {
  '/ready': 'ready',
  '/readyz': 'ready',
  '/health': 'ready',
  '/healthz': 'ready',
  '/live': 'live',
  '/livez': 'live',
};

/**
 * Tells Kubernetes and load balancers how the gateway is: `/live` while it runs, `/ready` while each
 * pool has enough eligible upstreams and the server is not closing. Mount it at a path of its own, before
 * the pieces that limit or authenticate. Other paths go on.
 *
 * @example
 * const pool = new UpstreamPool(['http://10.0.0.1', 'http://10.0.0.2']);
 * app.use('/health', healthEndpoint({ pools: { api: pool } }));
 * // GET /health/ready → 200 {"status":"ready","pools":{"api":{"eligible":2,"of":2}}}
 *
 * @throws TypeError or RangeError when an option is not what it should be.
 */
export function healthEndpoint(options: HealthEndpointOptions = {}): HealthEndpoint {
  const {
    pools = {},
    atLeast = 1,
    draining,
  } = known('healthEndpoint', options, ['pools', 'atLeast', 'draining']);
  const wanted = wants(pools, atLeast);
  if (draining !== undefined) callable('healthEndpoint: draining', draining);

  const live: Handler = function liveMiddleware(req, res) {
    answer(req, res, 200, { status: 'live' });
  };
  const ready: Handler = function readyMiddleware(req, res, next) {
    try {
      if (saidYes('healthEndpoint: draining()', draining?.()) || isClosing(req)) {
        return answer(req, res, 503, { status: 'draining' });
      }
    } catch (error) {
      return fail(exchangeOf(req, res), error, next);
    }
    const counts: Record<string, PoolCount> = {};
    let enough = true;
    for (const { name, pool, count } of wanted) {
      const eligible = pool.eligible.length;
      enough &&= eligible >= count;
      counts[name] = { eligible, of: pool.upstreams.length };
    }
    answer(req, res, enough ? 200 : 503, { status: enough ? 'ready' : 'not ready', pools: counts });
  };
  const handler: Handler = function healthEndpointMiddleware(req, res, next) {
    const asked = askedBy(req, next);
    if (asked === 'live') live(req, res, next);
    else if (asked === 'ready') ready(req, res, next);
    else if (next !== undefined) next();
    else answer(req, res, 404, { status: 'not found' });
  };
  return Object.assign(handler, { live, ready });
}

interface PoolCount {
  readonly eligible: number;
  readonly of: number;
}

/** What one pool has to have. */
interface Wanted {
  readonly name: string;
  readonly pool: UpstreamPool;
  readonly count: number;
}

function wants(
  pools: Readonly<Record<string, UpstreamPool>>,
  atLeast: NonNullable<HealthEndpointOptions['atLeast']>,
): Wanted[] {
  if (!isPlain(pools)) {
    throw new TypeError(
      `healthEndpoint: pools must be an object of pools by name, received ${inspect(pools)}`,
    );
  }
  const names = Object.keys(pools);
  if (typeof atLeast === 'number') wholeNumber('healthEndpoint: atLeast', atLeast);
  const counts =
    typeof atLeast === 'object' ? known('healthEndpoint: atLeast', atLeast, names) : {};
  return names.map((name) => {
    const pool = pools[name] as UpstreamPool;
    if (typeof pool !== 'object' || pool === null || !('eligible' in pool)) {
      throw new TypeError(
        `healthEndpoint: pools.${name} must be an UpstreamPool, received ${inspect(pool)}`,
      );
    }
    const count = typeof atLeast === 'object' ? (counts[name] ?? 1) : atLeast;
    const path = typeof atLeast === 'object' ? `atLeast.${name}` : 'atLeast';
    wholeNumber(`healthEndpoint: ${path}`, count);
    return { name, pool, count };
  });
}

/** The root is the endpoint's own where it is mounted at a path, or is all that there is. */
function askedBy(req: IncomingMessage, next: Next | undefined): 'live' | 'ready' | undefined {
  const { url = '/' } = req;
  const mark = url.indexOf('?');
  const path = mark === -1 ? url : url.slice(0, mark);
  if (path !== '/') return PATHS[path];
  return next === undefined || mountPath(req) !== '' ? 'ready' : undefined;
}

/** Whether the server takes no more connections; what is asked then comes on one from before. */
function isClosing({ socket }: IncomingMessage): boolean {
  const { server } = socket as { server?: { listening?: boolean } };
  return server?.listening === false;
}

function answer(req: IncomingMessage, res: ServerResponse, status: number, body: object): void {
  const { method } = req;
  const allowed = method === 'GET' || method === 'HEAD';
  const text = JSON.stringify(allowed ? body : { status: 'only GET and HEAD are understood' });
  res.statusCode = allowed ? status : 405;
  if (!allowed) res.setHeader('Allow', 'GET, HEAD');
  res.setHeader('Content-Type', 'application/json');
  res.setHeader('Content-Length', Buffer.byteLength(text));
  res.setHeader('Cache-Control', 'no-store');
  res.end(method === 'HEAD' ? undefined : text);
}
