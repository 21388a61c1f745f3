import { type Exchange, exchangeOf, type Handler } from '../exchange/exchange.js';
import { redactor, SECRET_PARAMETERS } from '../exchange/redact.js';
import { TRACE_FIELDS, traceIdIn } from '../exchange/traceparent.js';
import { type Trust, trustFor, trustsPeer } from '../exchange/trust.js';
import { inspect, known } from '../options.js';
import { ClientSpans } from '../transport/client-spans.js';
import { fail } from '../transport/deliver.js';
import { loadOpenTelemetry, type OpenTelemetryApi } from '../transport/open-telemetry.js';

/** Options for {@link tracing}. */
export interface TracingOptions {
  /**
   * Whose traces are continued, as in `forwardedFor()`. What others send of traces and baggage is dropped.
   *
   * @default true
   */
  readonly trust?: Trust | undefined;
  /** What makes spans; that of `@opentelemetry/api` where it is installed. `false` makes none. */
  readonly api?: OpenTelemetryApi | false | undefined;
  /** Query parameters whose values are masked in spans, in place of the usual ones of `accessLog()`. */
  readonly redact?: readonly string[] | undefined;
}

/**
 * Continues traces (W3C Trace Context and Baggage). Where OpenTelemetry is set up, each try becomes a
 * client span, and the upstream's spans belong to it; otherwise the client's fields go on as they are.
 * Fields that mean nothing are dropped. Place it first; tries are seen wherever it stands.
 *
 * @example
 * app.use(tracing(), loadBalancer({ upstreams }), retry(), proxyPass());
 *
 * @throws TypeError or RangeError when an option is not what it should be.
 */
export function tracing(options: TracingOptions = {}): Handler {
  const {
    trust = true,
    api,
    redact = SECRET_PARAMETERS,
  } = known('tracing', options, ['trust', 'api', 'redact']);
  const trusts = trustFor('tracing: trust', trust);
  const masked = redactor('tracing: redact', redact);
  let spans: ClientSpans | undefined;
  let loading: Promise<void> | undefined;
  if (api === undefined) {
    loading = loadOpenTelemetry().then((found) => {
      spans = found && new ClientSpans(found, masked);
      loading = undefined;
    });
  } else if (api !== false) {
    spans = new ClientSpans(checkedApi(api), masked);
  }

  return function tracingMiddleware(req, res, next) {
    const exchange = exchangeOf(req, res);
    let trusted: boolean;
    try {
      trusted = trustsPeer(req, trusts);
    } catch (error) {
      return fail(exchange, error, next);
    }
    readTrace(exchange, trusted);
    const go = (): void => {
      spans?.follow(exchange, trusted);
      next?.();
    };
    if (loading === undefined) go();
    // The first requests of a process wait for a module to be loaded, and no longer.
    else void loading.then(go);
  };
}

function checkedApi(api: unknown): OpenTelemetryApi {
  if (typeof api === 'object' && api !== null && 'trace' in api && 'propagation' in api) {
    return api as OpenTelemetryApi;
  }
  throw new TypeError(`tracing: api must be @opentelemetry/api or false, received ${inspect(api)}`);
}

/** Notes which trace it is, and drops what nobody behind us should believe. */
function readTrace(exchange: Exchange, trusted: boolean): void {
  const { headers } = exchange;
  if (!trusted) {
    for (const name of TRACE_FIELDS) headers.delete(name);
    return;
  }
  const traceparent = headers.get('traceparent');
  exchange.traceId = traceparent === undefined ? undefined : traceIdIn(traceparent);
  if (exchange.traceId !== undefined) return;
  // Trace Context, 3.2.2.5 and 3.3: as if there were none, and then the state belongs to nothing.
  if (traceparent !== undefined) headers.delete('traceparent');
  if (headers.has('tracestate')) headers.delete('tracestate');
}
