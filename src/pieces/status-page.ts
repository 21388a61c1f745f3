import type { IncomingMessage, ServerResponse } from 'node:http';
import { exchangeOf, type Handler, type Next } from '../exchange/exchange.js';
import { type Callback, inspect, isPlain, known, saidYes } from '../options.js';
import { Desk, refuse } from '../status/desk.js';
import { fail } from '../transport/deliver.js';
import type { UpstreamPool } from '../upstreams/pool.js';

/** Options for {@link statusPage}. */
export interface StatusPageOptions {
  /** The pools to be watched, by the names that they get on the page. */
  readonly pools: Readonly<Record<string, UpstreamPool>>;
  /**
   * What the page is called.
   *
   * @default 'headrace'
   */
  readonly title?: string | undefined;
  /**
   * Whether there are buttons that take an upstream out of use and put it back, or who gets them. Whoever
   * gets to the page gets them too, unless this says otherwise: let the app ask who that is.
   *
   * @default false
   */
  readonly allowActions?: boolean | Callback<[req: IncomingMessage], boolean> | undefined;
}

/** A {@link statusPage} in place. */
export interface StatusPage extends Handler {
  /** Ends the pages that are open, and looks at the pools no more. */
  close(): Promise<void>;
}

/**
 * A page that shows how the upstreams of pools are, live: health, circuits, rates, times, and charts of the
 * last five minutes; as JSON under `?format=json`. Mount it at a path of its own, behind whatever tells
 * the app who may see it.
 *
 * @example
 * const pool = new UpstreamPool(['http://10.0.0.1', 'http://10.0.0.2']);
 * app.use('/status', statusPage({ pools: { api: pool } }));
 *
 * @throws TypeError when an option is not what it should be.
 */
export function statusPage(options: StatusPageOptions): StatusPage {
  const {
    pools,
    title = 'headrace',
    allowActions = false,
  } = known('statusPage', options, ['pools', 'title', 'allowActions']);
  checkPools(pools);
  if (typeof title !== 'string') {
    throw new TypeError(`statusPage: title must be a string, received ${inspect(title)}`);
  }
  if (typeof allowActions !== 'boolean' && typeof allowActions !== 'function') {
    const wanted = `true, false or a function, received ${inspect(allowActions)}`;
    throw new TypeError(`statusPage: allowActions must be ${wanted}`);
  }
  const desk = new Desk(title, pools);

  const handler: Handler = function statusPageMiddleware(req, res, next) {
    const { url = '/' } = req;
    const mark = url.indexOf('?');
    if (!isAsked(req, mark === -1 ? url : url.slice(0, mark), next)) return next?.();
    try {
      const query = new URLSearchParams(mark === -1 ? '' : url.slice(mark));
      answer(desk, req, res, query, allowActions);
    } catch (error) {
      fail(exchangeOf(req, res), error, next);
    }
  };
  return Object.assign(handler, { close: async () => desk.close() });
}

function checkPools(pools: Readonly<Record<string, UpstreamPool>>): void {
  if (!isPlain(pools)) {
    const wanted = `an object of pools by name, received ${inspect(pools)}`;
    throw new TypeError(`statusPage: pools must be ${wanted}`);
  }
  for (const [name, pool] of Object.entries(pools) as [string, unknown][]) {
    if (typeof pool !== 'object' || pool === null || !('eligible' in pool)) {
      const wanted = `an UpstreamPool, received ${inspect(pool)}`;
      throw new TypeError(`statusPage: pools.${name} must be ${wanted}`);
    }
  }
}

/** Where it is mounted, only the root is its own; as the handler of a route, whatever the route is. */
function isAsked(req: IncomingMessage, path: string, next: Next | undefined): boolean {
  return path === '/' || next === undefined || (req as { route?: unknown }).route !== undefined;
}

function answer(
  desk: Desk,
  req: IncomingMessage,
  res: ServerResponse,
  query: URLSearchParams,
  allowed: NonNullable<StatusPageOptions['allowActions']>,
): void {
  const mayAct = () =>
    typeof allowed === 'function' ? saidYes('statusPage: allowActions()', allowed(req)) : allowed;
  const { method } = req;
  if (method === 'GET' || method === 'HEAD') {
    desk.show(req, res, query.get('format'), mayAct);
  } else if (method !== 'POST' || allowed === false) {
    res.setHeader('Allow', allowed === false ? 'GET, HEAD' : 'GET, HEAD, POST');
    refuse(req, res, 405, 'The page can only be looked at');
  } else if (mayAct()) {
    desk.act(req, res, query);
  } else {
    refuse(req, res, 403, 'Others may do that');
  }
}
