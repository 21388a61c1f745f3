import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type Context,
  type ContextManager,
  context,
  propagation,
  ROOT_CONTEXT,
  type TextMapPropagator,
  trace,
} from '@opentelemetry/api';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';

/** An SDK of OpenTelemetry that is set up. */
export interface OpenTelemetry {
  readonly provider: BasicTracerProvider;
  /** The spans that have ended since the last reset. */
  spans(): ReadableSpan[];
  reset(): void;
  /** Takes everything away again. */
  close(): Promise<void>;
}

/** Sets up tracer, context and W3C propagation as an SDK does. */
export function openTelemetry(): OpenTelemetry {
  const exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(new AsyncContexts());
  propagation.setGlobalPropagator(TRACE_CONTEXT);
  return {
    provider,
    // What undici reports, it reports of the whole process: requests of other tests may be on their way yet.
    spans: () =>
      exporter
        .getFinishedSpans()
        .filter(({ attributes }) => String(attributes['url.full']).includes('/traced')),
    reset: () => exporter.reset(),
    close: async () => {
      trace.disable();
      context.disable();
      propagation.disable();
      await provider.shutdown();
    },
  };
}

class AsyncContexts implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>();

  active(): Context {
    return this.#storage.getStore() ?? ROOT_CONTEXT;
  }

  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    active: Context,
    call: F,
    thisArg?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    return this.#storage.run(active, () => call.apply(thisArg, args));
  }

  bind<T>(_active: Context, target: T): T {
    return target;
  }

  enable(): this {
    return this;
  }

  disable(): this {
    this.#storage.disable();
    return this;
  }
}

const SUPPRESSED = Symbol.for('OpenTelemetry SDK Context Key SUPPRESS_TRACING');

/** What the SDK's own propagator does, as far as `traceparent` goes. */
const TRACE_CONTEXT: TextMapPropagator = {
  inject(active, carrier, setter) {
    const span = trace.getSpanContext(active);
    if (span === undefined || active.getValue(SUPPRESSED) === true) return;
    const flags = span.traceFlags.toString(16).padStart(2, '0');
    setter.set(carrier, 'traceparent', `00-${span.traceId}-${span.spanId}-${flags}`);
  },
  extract(active, carrier, getter) {
    const value = String(getter.get(carrier, 'traceparent') ?? '');
    const [, traceId = '', spanId = '', flags = ''] = value.split('-');
    if (traceId === '') return active;
    const traceFlags = Number.parseInt(flags, 16);
    return trace.setSpanContext(active, { traceId, spanId, traceFlags, isRemote: true });
  },
  fields: () => ['traceparent'],
};
