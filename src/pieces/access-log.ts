import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { combinedLine, commonLine, summary } from '../exchange/access-line.js';
import { type AccessRecord, accessRecord } from '../exchange/access-record.js';
import { clientAddress, peerAddress } from '../exchange/client.js';
import { type Exchange, exchangeOf, type Handler } from '../exchange/exchange.js';
import { redactor, SECRET_PARAMETERS } from '../exchange/redact.js';
import { type RequestTrusts, type Trust, trustFor } from '../exchange/trust.js';
import { callable, inspect, known, oneOf } from '../options.js';
import { isPromise } from '../promises.js';
import { warnOfThrown } from '../warnings.js';

/** How long after a warning of a logger that throws the next one comes at the soonest. */
const WARNING_WINDOW_MS = 10_000;

/** What a record can be given to: pino, winston, `console`, and whatever else has methods named after levels. */
export interface AccessLogger {
  /** Gets a record and a few words about it; with the formats that make lines, a line in its place. */
  info(record: AccessRecord, message: string): unknown;
}

/** Options for {@link accessLog}. */
export interface AccessLogOptions {
  /** What gets the records. Required. */
  readonly logger: AccessLogger;
  /**
   * The method of the logger that is called, or a function that names it for each record.
   *
   * @default 'info'
   */
  readonly level?: string | ((record: AccessRecord) => string) | undefined;
  /**
   * The record itself with a short message, a line in the Combined or Common Log Format, or what a
   * function makes of the record.
   *
   * @default 'record'
   */
  readonly format?:
    | 'record'
    | 'combined'
    | 'common'
    | ((record: AccessRecord) => string)
    | undefined;
  /** Whether an exchange that has ended is worth a record. All are by default. */
  readonly filter?: ((exchange: Exchange) => boolean) | undefined;
  /** Query parameters whose values are masked, in place of the usual ones. */
  readonly redact?: readonly string[] | undefined;
  /**
   * Whose word about the client's address counts, as in `forwardedFor()`.
   *
   * @default 'app'
   */
  readonly trust?: Trust | undefined;
  /** The clock of the warnings, in milliseconds; for tests. */
  readonly now?: (() => number) | undefined;
}

/**
 * Writes a record of each exchange when it has ended, in whichever way. No header but `User-Agent` and
 * `Referer` is ever in it. Place it first: it tells of requests that other middleware answers, too.
 *
 * @example
 * app.use(accessLog({ logger: console, format: 'combined' }), proxyPass('http://localhost:3000'));
 *
 * @throws TypeError when an option is not what it should be.
 */
export function accessLog(options: AccessLogOptions): Handler {
  refuseLogger(options);
  const {
    logger,
    level = 'info',
    format = 'record',
    filter,
    redact = SECRET_PARAMETERS,
    trust = 'app',
    now = () => performance.now(),
  } = known('accessLog', options, [
    'logger',
    'level',
    'format',
    'filter',
    'redact',
    'trust',
    'now',
  ]);
  checkLogger(logger, level);
  if (typeof format !== 'function') {
    oneOf('accessLog: format', format, ['record', 'combined', 'common']);
  }
  if (filter !== undefined) callable('accessLog: filter', filter);
  callable('accessLog: now', now);
  const masked = redactor('accessLog: redact', redact);
  const trusts = trustFor('accessLog: trust', trust);
  const warn = warner(now);

  const write = (exchange: Exchange): void => {
    try {
      if (filter !== undefined && !atOnce('filter', filter(exchange))) return;
      const record = accessRecord(exchange, masked);
      const method = typeof level === 'function' ? atOnce('level', level(record)) : level;
      const words =
        format === 'record' ? [record, summary(record)] : [lineOf(record, format, exchange)];
      const result: unknown = Reflect.apply(logger[method as 'info'], logger, words);
      // A promise that rejects unheard would end the process.
      if (isPromise(result)) result.then(undefined, warn);
    } catch (error) {
      warn(error);
    }
  };

  return function accessLogMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    try {
      // Once the connection has closed, nobody knows any more who it was.
      exchange.clientAddress ??= addressOf(req, trusts);
    } catch (error) {
      warn(error);
    }
    exchange.onOutcome(write);
    next?.();
  };
}

function refuseLogger(options: object | undefined): void {
  if (typeof options !== 'object' || options === null) return;
  if ('logger' in options || !('info' in options)) return;
  throw new TypeError('accessLog: the logger is an option: accessLog({ logger: console })');
}

function checkLogger(logger: unknown, level: unknown): void {
  if (typeof logger !== 'object' || logger === null) {
    throw new TypeError(
      `accessLog: logger must be an object with methods, received ${inspect(logger)}`,
    );
  }
  if (typeof level === 'function') return;
  if (typeof level !== 'string') {
    throw new TypeError(
      `accessLog: level must be a name or a function, received ${inspect(level)}`,
    );
  }
  callable(`accessLog: logger.${level}`, (logger as Record<string, unknown>)[level]);
}

type LineFormat = Exclude<NonNullable<AccessLogOptions['format']>, 'record'>;

function lineOf(record: AccessRecord, format: LineFormat, { res }: Exchange): string {
  if (typeof format === 'function') return atOnce('format', format(record));
  // What was not relayed from an upstream is known by its length alone.
  const bytes = record.bytesReceived || Number(res.getHeader('content-length')) || 0;
  return format === 'combined' ? combinedLine(record, bytes) : commonLine(record, bytes);
}

/** What a function gave, unless it is a promise: as a filter, that would be a yes to every record. */
function atOnce<T>(name: string, given: T): T {
  if (!isPromise(given)) return given;
  throw new TypeError(`accessLog: ${name}() must not be async, it returned ${inspect(given)}`);
}

/** The client's address; what a proxy says about it is believed only where it is an address. */
function addressOf(req: IncomingMessage, trusts: RequestTrusts): string | undefined {
  const peer = peerAddress(req);
  if (req.headers['x-forwarded-for'] === undefined) return peer;
  const address = clientAddress(req, (one, hop) => trusts(req, one, hop));
  return address !== undefined && isIP(address) !== 0 ? address : peer;
}

/** Warns of a logger that fails, but not of each record. */
function warner(now: () => number): (error: unknown) => void {
  let warnedAt = Number.NEGATIVE_INFINITY;
  return (error) => {
    const time = now();
    if (time - warnedAt < WARNING_WINDOW_MS) return;
    warnedAt = time;
    warnOfThrown('The logger of accessLog() threw', error, 'HEADRACE_ACCESS_LOG');
  };
}
