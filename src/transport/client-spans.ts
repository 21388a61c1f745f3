import { errorCode } from '../exchange/access-record.js';
import type { Exchange, Send } from '../exchange/exchange.js';
import type { HeaderOverlay } from '../exchange/header-overlay.js';
import type { Redact } from '../exchange/redact.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import type { Upstream } from '../upstreams/upstream.js';
import { log } from './log.js';
import {
  CLIENT,
  ERROR,
  type FieldGetter,
  type FieldSetter,
  type OpenTelemetryApi,
  type Span,
  type SpanAttributes,
  suppressed,
  type TraceContext,
  type TracerProvider,
} from './open-telemetry.js';

/** What our spans are found by. */
const NAME = 'headrace';

/** Methods that a span may be named after; whatever else a client makes up is `_OTHER`. */
const METHODS = new Set([
  'CONNECT',
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'POST',
  'PUT',
  'QUERY',
  'TRACE',
]);

const FIELDS_OF_CLIENT: FieldGetter<HeaderOverlay> = {
  get: (headers, name) => headers.get(name),
  keys: (headers) => Object.keys(headers.toJSON()),
};
const FIELDS_TO_UPSTREAM: FieldSetter<Map<string, string>> = {
  set: (fields, name, value) => void fields.set(name, value),
};

/** Makes the client spans of one pipeline, by the stable semantic conventions for HTTP. */
export class ClientSpans {
  readonly #api: OpenTelemetryApi;
  readonly #redact: Redact;

  constructor(api: OpenTelemetryApi, redact: Redact) {
    this.#api = api;
    this.#redact = redact;
  }

  /**
   * Has a span made round each try of an exchange. They belong to the span that is active, that of a
   * server's instrumentation, or to what the client says, where that counts.
   */
  follow(exchange: Exchange, trusted: boolean): void {
    const { context, propagation, trace } = this.#api;
    if (!isSetUp(trace.getTracerProvider())) return;
    let parent = context.active();
    try {
      if (trusted && this.#traceIdOf(parent) === undefined) {
        parent = propagation.extract(parent, exchange.headers, FIELDS_OF_CLIENT);
      }
    } catch (error) {
      log('no trace to continue: %O', error);
    }
    exchange.traceId = this.#traceIdOf(parent) ?? exchange.traceId;
    exchange.aroundEach((_exchange, send) => {
      const { upstream } = exchange;
      if (upstream === undefined) return send();
      const span = this.#start(exchange, upstream, parent);
      if (span === undefined) return send();
      const own = trace.setSpan(parent, span);
      // Without a parent, the tries that follow would each be a trace of their own.
      if (this.#traceIdOf(parent) === undefined) parent = own;
      return this.#send(exchange, span, own, send);
    });
  }

  #traceIdOf(context: TraceContext): string | undefined {
    const span = this.#api.trace.getSpanContext(context);
    return span && this.#api.trace.isSpanContextValid(span) ? span.traceId : undefined;
  }

  /** What the SDK or a plugin of it throws is no reason not to send the request. */
  #start(exchange: Exchange, upstream: Upstream, parent: TraceContext): Span | undefined {
    const { propagation, trace } = this.#api;
    const attributes = attributesOf(exchange, upstream, this.#redact);
    const name = attributes['http.request.method'] as string;
    try {
      const span = trace
        .getTracer(NAME)
        .startSpan(name === '_OTHER' ? 'HTTP' : name, { kind: CLIENT, attributes }, parent);
      const own = trace.setSpan(parent, span);
      const fields = new Map<string, string>();
      propagation.inject(own, fields, FIELDS_TO_UPSTREAM);
      // The client's state may be that of another trace, or one that was found wanting.
      if (fields.has('traceparent')) exchange.headers.delete('tracestate');
      for (const [field, value] of fields) exchange.headers.set(field, value);
      exchange.traceId = this.#traceIdOf(own) ?? exchange.traceId;
      return span;
    } catch (error) {
      log('no span: %O', error);
      return undefined;
    }
  }

  async #send(
    exchange: Exchange,
    span: Span,
    own: TraceContext,
    send: Send,
  ): Promise<UpstreamResponse> {
    let response: UpstreamResponse;
    try {
      response = await this.#api.context.with(suppressed(own), send);
    } catch (error) {
      finish(span, error);
      throw error;
    }
    const status = response.attempt?.status ?? response.status;
    span.setAttributes({ 'http.response.status_code': status });
    if (status >= 400) fails(span, String(status));
    let open = true;
    const end = (): void => {
      if (!open) return;
      open = false;
      const { outcome } = exchange;
      const left = outcome?.type === 'client-closed' ? outcome.error : undefined;
      finish(span, left ?? response.attempt?.error);
    };
    response.onDiscard(end);
    exchange.onOutcome(end);
    return response;
  }
}

/** Until an SDK registers, the API stands in for it with something that does nothing, at a price. */
function isSetUp(provider: TracerProvider): boolean {
  return provider.getDelegateTracer === undefined || provider.getDelegateTracer(NAME) !== undefined;
}

function attributesOf(exchange: Exchange, upstream: Upstream, redact: Redact): SpanAttributes {
  const { method, path, attempts } = exchange;
  const { origin, protocol, hostname, basePath, socketPath } = upstream;
  const known = METHODS.has(method);
  const attributes: SpanAttributes = {
    'http.request.method': known ? method : '_OTHER',
    'server.address': socketPath ?? hostname,
    // What the target itself has for a query is most likely a key.
    'url.full': redact(`${origin}${basePath}${path}`),
  };
  if (!known) attributes['http.request.method_original'] = method;
  if (socketPath === undefined) attributes['server.port'] = portOf(origin, protocol);
  if (attempts.length > 0) attributes['http.request.resend_count'] = attempts.length;
  return attributes;
}

function portOf(origin: string, protocol: string): number {
  return Number(/:(\d+)$/.exec(origin)?.[1] ?? (protocol === 'https:' ? 443 : 80));
}

/** A client that left is nobody's failure, but the span says why it is short. */
function finish(span: Span, error: unknown): void {
  const code = errorCode(error);
  if (code === 'ERR_PROXY_CLIENT_CLOSED') span.setAttributes({ 'error.type': code });
  else if (code !== undefined) fails(span, code);
  span.end();
}

function fails(span: Span, type: string): void {
  span.setAttributes({ 'error.type': type });
  span.setStatus({ code: ERROR });
}
