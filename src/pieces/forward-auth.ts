import {
  CONNECTION_OPTIONS,
  type ConnectionOptions,
  connectionSettings,
} from '../connection-settings.js';
import { AuthUnavailableError } from '../exchange/errors.js';
import { type Exchange, exchangeOf, type Handler, type Next } from '../exchange/exchange.js';
import { ownFieldNames } from '../exchange/own-fields.js';
import { type Trust, trustFor } from '../exchange/trust.js';
import { UpstreamResponse } from '../exchange/upstream-response.js';
import { fieldNames, known, milliseconds, oneOf } from '../options.js';
import { authRequestHeaders } from '../transport/auth-request.js';
import { connectionsTo } from '../transport/connections.js';
import { deliver, fail } from '../transport/deliver.js';
import { forbidden } from '../transport/forbidden.js';
import { ownRequest } from '../transport/own-request.js';
import { BrokenAnswerError, Subrequest, type SubrequestAnswer } from '../transport/subrequest.js';
import { Via } from '../transport/via.js';
import { parseTarget } from '../upstreams/target.js';
import { Upstream } from '../upstreams/upstream.js';

/** Options for {@link forwardAuth}. */
export interface ForwardAuthOptions {
  /** Whom to ask: an `http:`, `https:` or `unix:` URL, with the path to ask for. Required. */
  readonly url: string | URL;
  /**
   * Fields of a yes that go to the upstream, in place of what the client sent under these names.
   *
   * @default []
   */
  readonly copyHeaders?: readonly string[] | undefined;
  /**
   * Fields of a yes that go to the client, such as `set-cookie`.
   *
   * @default []
   */
  readonly responseHeaders?: readonly string[] | undefined;
  /** The only fields of the request that the service is shown; all of them by default. */
  readonly requestHeaders?: readonly string[] | undefined;
  /**
   * Longest wait for an answer, in milliseconds.
   *
   * @default 5_000
   */
  readonly timeoutMs?: number | undefined;
  /**
   * What becomes of a request when the service gives no answer, or one of 500 and more: 503, or it passes.
   *
   * @default 'deny'
   */
  readonly onError?: 'deny' | 'allow' | undefined;
  /**
   * Whose word about the client counts, as in `forwardedFor()`.
   *
   * @default 'app'
   */
  readonly trust?: Trust | undefined;
  /**
   * Our name in `Via`, by which a question that comes back to us is known. `false` detects no loop.
   *
   * @default 'headrace-auth'
   */
  readonly via?: string | false | undefined;
  /** How the service is connected to. */
  readonly transport?: ConnectionOptions | undefined;
}

/** A {@link forwardAuth} in place. */
export interface ForwardAuth extends Handler {
  /** Closes the connections to the service. */
  close(): Promise<void>;
}

const OPTIONS = [
  'url',
  'copyHeaders',
  'responseHeaders',
  'requestHeaders',
  'timeoutMs',
  'onError',
  'trust',
  'via',
  'transport',
] as const satisfies readonly (keyof ForwardAuthOptions)[];

/**
 * Asks a service whether a request may pass, as `auth_request` of nginx and ForwardAuth of Traefik do. A 2xx is a
 * yes; any other answer goes to the client as it is.
 *
 * @example
 * app.use(forwardAuth({ url: 'http://localhost:4000/verify', copyHeaders: ['x-user', 'x-groups'] }));
 *
 * @throws TypeError or RangeError when an option is not what it should be.
 */
export function forwardAuth(options: ForwardAuthOptions): ForwardAuth {
  const settings = settingsOf(options);
  const { upstream } = settings;

  const handler: Handler = function forwardAuthMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    let question: Promise<SubrequestAnswer>;
    try {
      question = ask(exchange, settings);
    } catch (error) {
      return fail(exchange, error, next);
    }
    question.then(
      (answer) => conclude(exchange, answer, settings, next),
      (error: unknown) => withoutAnswer(exchange, error, settings, next),
    );
  };
  return Object.assign(handler, { close: () => upstream.close() });
}

type Settings = ReturnType<typeof settingsOf>;

function settingsOf(options: ForwardAuthOptions) {
  const {
    url,
    copyHeaders = [],
    responseHeaders = [],
    requestHeaders,
    timeoutMs = 5_000,
    onError = 'deny',
    trust = 'app',
    via = 'headrace-auth',
    transport = {},
  } = known('forwardAuth', options, OPTIONS);
  const upstream = new Upstream(url, 'forwardAuth: url');
  if (upstream.authorization !== undefined) {
    throw new TypeError('forwardAuth: url has credentials, and it is shown those of the client');
  }
  const { pathname, search } = parseTarget(url, 'forwardAuth: url').url;
  const copied = ownFieldNames('forwardAuth: copyHeaders', copyHeaders);
  if (copied.includes('set-cookie')) {
    throw new TypeError('forwardAuth: copyHeaders has "set-cookie", which is for responseHeaders');
  }
  const only =
    requestHeaders === undefined
      ? undefined
      : fieldNames('forwardAuth: requestHeaders', requestHeaders);
  milliseconds('forwardAuth: timeoutMs', timeoutMs);
  oneOf('forwardAuth: onError', onError, ['deny', 'allow']);
  const at = 'forwardAuth: transport';
  return {
    upstream,
    path: pathname + search,
    copied,
    answered: ownFieldNames('forwardAuth: responseHeaders', responseHeaders),
    only: only && new Set(only),
    timeoutMs,
    allowsErrors: onError === 'allow',
    trusts: trustFor('forwardAuth: trust', trust),
    via: via === false ? undefined : new Via('forwardAuth: via', via),
    connection: connectionSettings(at, known(at, transport, CONNECTION_OPTIONS)),
  };
}

/** Asks the service. */
function ask(exchange: Exchange, settings: Settings): Promise<SubrequestAnswer> {
  const { upstream, path, timeoutMs, via } = settings;
  const headers = authRequestHeaders(exchange, settings);
  if (via !== undefined) headers.push('Via', via.behind(exchange, exchange.headers.get('via')));
  const request = ownRequest(upstream, path, headers as string[], timeoutMs);
  const connections = connectionsTo(upstream, settings.connection);
  // The client may leave before there is an answer.
  exchange.watch();
  return new Promise((resolve, reject) => {
    const subrequest = new Subrequest(connections, request, { resolve, reject });
    exchange.inFlight = subrequest;
    subrequest.send(timeoutMs);
  });
}

function conclude(
  exchange: Exchange,
  answer: SubrequestAnswer,
  settings: Settings,
  next: Next | undefined,
): void {
  const { status, lines, body } = answer;
  if (status < 300) return pass(exchange, lines, settings, next);
  if (status >= 500) {
    return withoutAnswer(exchange, new Error(`it answered ${status}`), settings, next);
  }
  exchange.inFlight = undefined;
  if (!isRefusal(status)) {
    // Not for `onError`: what is wrong here may be what the client has sent.
    return fail(exchange, forbidden('DENIED', `forwardAuth: the service answered ${status}`), next);
  }
  deliver(exchange, new UpstreamResponse({ status, headers: pairs(lines), body }), next);
}

/** Answers that are meant for the client: who are you, you may not, and over there you can log in. */
function isRefusal(status: number): boolean {
  return status === 401 || status === 403 || (status < 400 && status !== 304);
}

function pass(
  exchange: Exchange,
  lines: readonly string[],
  { copied, answered }: Settings,
  next: Next | undefined,
): void {
  const { headers, res } = exchange;
  exchange.inFlight = undefined;
  exchange.isVouchedFor ||= copied.length > 0;
  try {
    for (const name of copied) {
      const values = valuesOf(lines, name);
      if (values.length === 0) headers.delete(name);
      else headers.set(name, values.length === 1 ? (values[0] as string) : values);
    }
    if (!res.headersSent) {
      for (const name of answered)
        for (const value of valuesOf(lines, name)) res.appendHeader(name, value);
    }
  } catch (error) {
    return fail(exchange, error, next);
  }
  next?.();
}

/** There is no answer, or none that says anything. */
function withoutAnswer(
  exchange: Exchange,
  cause: unknown,
  { upstream, copied, allowsErrors }: Settings,
  next: Next | undefined,
): void {
  exchange.inFlight = undefined;
  if (!exchange.open) return;
  // It has said no, whatever has become of the rest of it.
  if (cause instanceof BrokenAnswerError && cause.status >= 300 && cause.status < 500) {
    return fail(exchange, forbidden('DENIED', `forwardAuth: ${cause.message}`), next);
  }
  // A request that cannot even be asked about is not let through by it.
  const isUnfit = (cause as { code?: unknown }).code === 'UND_ERR_INVALID_ARG';
  if (!allowsErrors || isUnfit)
    return fail(exchange, new AuthUnavailableError({ cause, upstream }), next);
  for (const name of copied) exchange.headers.delete(name);
  next?.();
}

function valuesOf(lines: readonly string[], lower: string): string[] {
  return [...pairs(lines)]
    .filter(([name]) => name.toLowerCase() === lower)
    .map(([, value]) => value);
}

function* pairs(lines: readonly string[]): Generator<[name: string, value: string]> {
  for (let i = 0; i < lines.length; i += 2) yield [lines[i] as string, lines[i + 1] as string];
}
