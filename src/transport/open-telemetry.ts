/** Attributes of a span, as far as we set them. */
export type SpanAttributes = Record<string, string | number>;

/** What identifies a span. */
interface SpanContext {
  readonly traceId: string;
  readonly spanId: string;
}

/** A span, as far as it is used. */
export interface Span {
  spanContext(): SpanContext;
  setAttributes(attributes: SpanAttributes): unknown;
  setStatus(status: { code: number }): unknown;
  end(): void;
}

/** A context of OpenTelemetry, which is passed on and never looked into. */
export interface TraceContext {
  getValue(key: symbol): unknown;
  deleteValue(key: symbol): TraceContext;
  setValue(key: symbol, value: unknown): TraceContext;
}

/** How a propagator reads fields. */
export interface FieldGetter<Carrier> {
  get(carrier: Carrier, name: string): string | undefined;
  keys(carrier: Carrier): string[];
}

/** How a propagator writes fields. */
export interface FieldSetter<Carrier> {
  set(carrier: Carrier, name: string, value: string): void;
}

/** What makes tracers: that of an SDK, or the API's own, which has a tracer once there is an SDK. */
export interface TracerProvider {
  getTracer(name: string): unknown;
  getDelegateTracer?(name: string): unknown;
}

/**
 * What is used of `@opentelemetry/api`. Its own types are not named, so that ours can be read where it
 * is not installed.
 */
export interface OpenTelemetryApi {
  readonly trace: {
    getTracerProvider(): TracerProvider;
    getTracer(name: string): {
      startSpan(
        name: string,
        options: { kind: number; attributes: SpanAttributes },
        context: TraceContext,
      ): Span;
    };
    getSpanContext(context: TraceContext): SpanContext | undefined;
    setSpan(context: TraceContext, span: Span): TraceContext;
    isSpanContextValid(context: SpanContext): boolean;
  };
  readonly context: {
    active(): TraceContext;
    with<T>(context: TraceContext, call: () => T): T;
  };
  readonly propagation: {
    extract<C>(context: TraceContext, carrier: C, getter: FieldGetter<C>): TraceContext;
    inject<C>(context: TraceContext, carrier: C, setter: FieldSetter<C>): void;
  };
}

/** `SpanKind.CLIENT`: enums have no values where only types are known. */
export const CLIENT = 2;
/** `SpanStatusCode.ERROR`. */
export const ERROR = 2;

/**
 * Under this key, a context says that nothing below is to make spans. It is the one that the SDK and
 * its instrumentations know: `createContextKey()` of the API makes the same symbol of the same words.
 */
const SUPPRESS_TRACING = Symbol.for('OpenTelemetry SDK Context Key SUPPRESS_TRACING');

/** A context in which undici's instrumentation makes no span beside ours and adds no fields to ours. */
export function suppressed(context: TraceContext): TraceContext {
  return context.setValue(SUPPRESS_TRACING, true);
}

/** The API, where it is installed. */
export async function loadOpenTelemetry(): Promise<OpenTelemetryApi | undefined> {
  try {
    const api = await import('@opentelemetry/api');
    return 'propagation' in api ? api : undefined;
  } catch {
    return undefined;
  }
}
