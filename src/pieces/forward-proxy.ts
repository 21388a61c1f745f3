import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import type { ConnectionOptions as TlsOptions } from 'node:tls';
import { BadRequestError, NoTargetError } from '../exchange/errors.js';
import {
  type Exchange,
  exchangeOf,
  type Handler,
  type Next,
  type Send,
} from '../exchange/exchange.js';
import { serveProxyRequests } from '../exchange/for-proxy.js';
import { callable, known, milliseconds } from '../options.js';
import { ConnectResponse, deliverConnect } from '../transport/connect-response.js';
import { alreadyAnswered, deliver, editThen, fail } from '../transport/deliver.js';
import { dial } from '../transport/dial.js';
import { countForwards } from '../transport/max-forwards.js';
import { type Permits, permittedAddresses, type TargetLookup } from '../transport/permitted.js';
import { endBehindUpgrade, guardMessage } from '../transport/request-guard.js';
import {
  isForProxy,
  originOf,
  type RequestedTarget,
  requestedTarget,
} from '../transport/requested-target.js';
import { makeRoom } from '../transport/room-for-fields.js';
import { warnOfRuntime } from '../transport/runtime.js';
import { send } from '../transport/send.js';
import { type TransportSettings, transportSettings } from '../transport/settings.js';
import { type TargetRule, TargetRules } from '../transport/target-rules.js';
import { Via } from '../transport/via.js';
import { Targets } from '../upstreams/targets.js';
import { Upstream } from '../upstreams/upstream.js';

/** Options for {@link forwardProxy}. */
export interface ForwardProxyOptions {
  /**
   * The targets that may be reached. A name or a port allows public addresses alone: private ones must be
   * named as addresses or ranges, or let in by a function. Without a port, a host or address is allowed
   * on every port.
   *
   * @default [80, 443]
   */
  readonly allow?: TargetRule | readonly TargetRule[] | undefined;
  /**
   * The targets that may not be reached, whatever `allow` says.
   *
   * @default []
   */
  readonly deny?: TargetRule | readonly TargetRule[] | undefined;
  /** Resolves names, with the signature of `dns.lookup()`, which is the default. */
  readonly lookup?: TargetLookup | undefined;
  /**
   * Our name in `Via`, by which a request that comes back is known. Proxies in a row need names of
   * their own. `false` writes no `Via` and detects no loop by it.
   *
   * @default 'headrace'
   */
  readonly via?: string | false | undefined;
  /**
   * Longest wait for DNS, and then for a connection, in milliseconds.
   *
   * @default 5_000
   */
  readonly connectTimeoutMs?: number | undefined;
  /** How long a tunnel may stand still, in milliseconds. No limit by default. */
  readonly tunnelIdleMs?: number | undefined;
  /**
   * Longest wait for the head of a response, in milliseconds.
   *
   * @default 30_000
   */
  readonly headersTimeoutMs?: number | undefined;
  /**
   * Longest time that a body may stand still, in milliseconds.
   *
   * @default 60_000
   */
  readonly bodyTimeoutMs?: number | undefined;
  /** Longest request body, in bytes; longer ones are answered with 413. No limit by default. */
  readonly maxBodyBytes?: number | undefined;
  /**
   * Longest response head, in bytes of names and values; longer ones are answered with 502.
   *
   * @default 16_384
   */
  readonly maxHeaderBytes?: number | undefined;
  /**
   * Most fields in a response head; more are answered with 502.
   *
   * @default 256
   */
  readonly maxHeaderFields?: number | undefined;
  /**
   * Most connections to one target, tunnels not counted; requests beyond them wait.
   *
   * @default 256
   */
  readonly connections?: number | undefined;
  /**
   * How long a request waits for one of the `connections`, in milliseconds. Then it is answered with 503.
   *
   * @default 30_000
   */
  readonly queueTimeoutMs?: number | undefined;
  /**
   * How long an idle connection is kept, in milliseconds.
   *
   * @default 30_000
   */
  readonly keepAliveMs?: number | undefined;
  /** TLS towards targets that are asked for as `https://…` without a tunnel: `ca` and so on. */
  readonly tls?: TlsOptions | undefined;
}

/** A {@link forwardProxy} in place. */
export interface ForwardProxy extends Handler {
  /** Closes the connections that are kept for further requests. */
  close(): Promise<void>;
}

/**
 * A proxy for clients that are told to use one: it serves absolute-form requests (`GET http://host/`)
 * and CONNECT, and leaves all others to the middleware behind it. Mount it at the root, behind the
 * middleware that says who may use it, and `attach()` the app to the server: CONNECT needs that.
 *
 * @example
 * app.use(forwardProxy({ allow: ['*.example.com', 'registry.npmjs.org:443'], deny: '10.0.0.0/8' }));
 * attach(createServer(app).listen(8080), app);
 *
 * @throws TypeError or RangeError when an option is not what it should be.
 */
export function forwardProxy(options: ForwardProxyOptions = {}): ForwardProxy {
  const {
    allow = [80, 443],
    deny = [],
    lookup = dnsLookup,
    via = 'headrace',
    tunnelIdleMs,
    ...transport
  } = known('forwardProxy', options, OPTIONS);
  const rules = new TargetRules('forwardProxy', allow, deny);
  callable('forwardProxy: lookup', lookup);
  const ownVia = via === false ? undefined : new Via('forwardProxy: via', via);
  if (tunnelIdleMs !== undefined) milliseconds('forwardProxy: tunnelIdleMs', tunnelIdleMs);
  const settings = transportSettings('forwardProxy', transport);
  const permits: Permits = { rules, lookup, timeoutMs: settings.connection.connectTimeoutMs };
  const targets = new Targets();
  warnOfRuntime();
  serveProxyRequests();

  const handler: Handler = function forwardProxyMiddleware(req, res, next) {
    if (next !== undefined && !isForProxy(req)) return next();
    const exchange = exchangeOf(req, res);
    makeRoom(req, res);
    exchange.watch();
    if (alreadyAnswered(exchange, settings, next)) return;
    const done = req.method === 'CONNECT' ? deliverConnect : deliver;
    let target: RequestedTarget;
    try {
      guardMessage(req, false);
      endBehindUpgrade(exchange);
      target = requestedTarget(req);
      if (req.method === 'CONNECT') guardConnect(exchange);
      if (countForwards(exchange)) return;
      ownVia?.sign(exchange);
    } catch (error) {
      return fail(exchange, error, next, { done });
    }
    // Who the client is to us is nobody else's business, whatever stripHopHeaders() has been told.
    exchange.headers.delete('proxy-authorization');
    permittedAddresses(target, req, permits).then(
      (addresses) => {
        if (!exchange.open) return;
        exchange.upstream = upstreamFor(targets, target, addresses, settings);
        if (req.method !== 'CONNECT') return forward(exchange, next, settings);
        const connect: Send = async () => {
          const dialled = await dial(exchange, target, addresses, permits.timeoutMs);
          return new ConnectResponse(exchange, dialled, tunnelIdleMs);
        };
        forward(exchange, next, settings, connect);
      },
      (error: unknown) => fail(exchange, error, next, { done }),
    );
  };
  return Object.assign(handler, { close: () => targets.close() });
}

const OPTIONS = [
  'allow',
  'deny',
  'lookup',
  'via',
  'connectTimeoutMs',
  'tunnelIdleMs',
  'headersTimeoutMs',
  'bodyTimeoutMs',
  'maxBodyBytes',
  'maxHeaderBytes',
  'maxHeaderFields',
  'connections',
  'queueTimeoutMs',
  'keepAliveMs',
  'tls',
] as const satisfies readonly (keyof ForwardProxyOptions)[];

/** @throws ProxyError when nothing could become a tunnel. */
function guardConnect({ req, clientEnd }: Exchange): void {
  if ('stream' in req) throw new BadRequestError('CONNECT over HTTP/2 is not supported', 501);
  if (clientEnd === undefined) {
    throw new NoTargetError('forwardProxy: CONNECT comes through attach(server, app) alone');
  }
}

/**
 * The upstream of a target at these addresses. They are part of its name: a connection that was opened
 * for a request with more rights is never the one that another request goes over.
 */
function upstreamFor(
  targets: Targets,
  target: RequestedTarget,
  addresses: readonly LookupAddress[],
  { connection }: TransportSettings,
): Upstream {
  const origin = originOf(target);
  const key = [origin, ...addresses.map(({ address }) => address).sort()].join(' ');
  return targets.keep(key, () => {
    return new Upstream(origin, 'forwardProxy: target', { ...connection, addresses });
  });
}

function forward(
  exchange: Exchange,
  next: Next | undefined,
  settings: TransportSettings,
  once?: Send,
): void {
  const done = once === undefined ? deliver : deliverConnect;
  send(exchange, settings, once).then(
    (response) => editThen(exchange, response, next, done),
    (error: unknown) => fail(exchange, error, next, { done }),
  );
}
