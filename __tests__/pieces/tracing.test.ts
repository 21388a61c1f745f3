import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import * as openTelemetryApi from '@opentelemetry/api';
import { context, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { UndiciInstrumentation } from '@opentelemetry/instrumentation-undici';
import {
  type AccessRecord,
  accessLog,
  exchangeOf,
  loadBalancer,
  type OpenTelemetryApi,
  proxyPass,
  retry,
  type TracingOptions,
  tracing,
} from 'headrace';
import { rawClient, rawRequest } from '../helpers/client.js';
import { type OpenTelemetry, openTelemetry } from '../helpers/open-telemetry.js';
import { onlyRequest, request, requestsOf } from '../helpers/requests.js';
import { gateway, type Middleware, OK, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';
const TRACEPARENT = `00-${TRACE}-${PARENT}-01`;
const FIELDS = [
  `traceparent: ${TRACEPARENT}`,
  'tracestate: a=1,b=2',
  'tracestate: c=3',
  'baggage: user=ada',
];
const DOWN = 'HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n';
const firstOf: Parameters<typeof loadBalancer>[0]['strategy'] = { pick: ([first]) => first };

/** What an upstream gets of a request with these fields, and the trace that the exchange knows. */
async function passed(options: TracingOptions, ...fields: string[]) {
  const upstream = await rawUpstream();
  let traceId: string | undefined;
  const note: Middleware = (req, res, next) => {
    res.on('close', () => {
      traceId = exchangeOf(req, res).traceId;
    });
    next();
  };
  const { port } = await gateway('express 5', tracing(options), note, proxyPass(upstream.url));
  await rawRequest(port, request('GET /', fields));
  const sent = onlyRequest(upstream);
  const names = ['traceparent', 'tracestate', 'baggage'];
  await eventually('the end', () => upstream.received() !== '');
  return { traceId: () => traceId, sent: names.map((name) => sent.lines(name).join(', ')) };
}

describe('tracing without OpenTelemetry', () => {
  const off = { api: false } as const;

  it('passes the fields on as they are, and knows the trace', async () => {
    const { sent, traceId } = await passed(off, ...FIELDS);
    expect(sent).toEqual([TRACEPARENT, 'a=1,b=2, c=3', 'user=ada']);
    await eventually('the trace', () => traceId() === TRACE);
  });

  it('makes no trace of its own, which nobody would record', async () => {
    const { sent, traceId } = await passed(off);
    expect([...sent, traceId()]).toEqual(['', '', '', undefined]);
  });

  it.each([
    ['what is no trace', ['traceparent: 00-zz', 'tracestate: a=1', 'baggage: a=1']],
    ['an empty one', ['traceparent:', 'tracestate: a=1', 'baggage: a=1']],
    ['two of them', [`traceparent: ${TRACEPARENT}`, ...FIELDS]],
    ['state without a trace', ['tracestate: a=1', 'baggage: a=1']],
  ])('drops %s', async (_, fields) => {
    const { sent } = await passed(off, ...fields);
    expect(sent.slice(0, 2)).toEqual(['', '']);
    expect(sent[2]).not.toBe('');
  });

  it('drops all that those say who are not trusted', async () => {
    const { sent, traceId } = await passed({ ...off, trust: '10.0.0.0/8' }, ...FIELDS);
    expect([...sent, traceId()]).toEqual(['', '', '', undefined]);
    const loopback = await passed({ ...off, trust: 'loopback' }, ...FIELDS);
    expect(loopback.sent[0]).toBe(TRACEPARENT);
  });

  it('is the same where the API is installed and nothing is set up', async () => {
    const { sent } = await passed({}, ...FIELDS);
    expect(sent).toEqual([TRACEPARENT, 'a=1,b=2, c=3', 'user=ada']);
  });

  it.each([
    [{ api: {} }, 'tracing: api must be @opentelemetry/api or false, received an object []'],
    [{ api: true }, 'tracing: api must be @opentelemetry/api or false, received true'],
    [{ trust: ['x'] }, 'tracing: trust[0] must be an address or a range, received "x"'],
    [{ redact: 1 }, 'tracing: redact must be an array of names, received 1'],
    [{ apy: false }, 'tracing: unknown option "apy", did you mean "api"?'],
  ])('refuses %j', (options, message) => {
    expect(() => tracing(options as never)).toThrow(message);
  });
});

describe('tracing with OpenTelemetry', () => {
  let undici: UndiciInstrumentation;
  let setUp: OpenTelemetry;
  beforeAll(() => {
    setUp = openTelemetry();
    undici = new UndiciInstrumentation();
    undici.setTracerProvider(setUp.provider);
  });
  afterEach(() => setUp.reset());
  afterAll(async () => {
    undici.disable();
    await setUp.close();
  });

  /** The spans of a request, once there are so many. */
  async function spansOf(count: number, bytes: string, ...middleware: Middleware[]) {
    const { port } = await gateway('express 5', ...middleware);
    const answer = await rawRequest(port, bytes);
    await eventually('the spans', () => setUp.spans().length >= count);
    expect(setUp.spans()).toHaveLength(count);
    return { spans: setUp.spans(), answer };
  }

  it('makes one client span of each try, all of the same parent, wherever it stands', async () => {
    const [down, up] = [await rawUpstream(DOWN), await rawUpstream()];
    const records: AccessRecord[] = [];
    const logger = { info: (record: AccessRecord) => void records.push(record) };
    const upstreams = ['http://127.0.0.1:1', down.url, `${up.url}/base`];
    const { spans } = await spansOf(
      3,
      request('GET /traced/page?a=1&token=s3cret', FIELDS),
      accessLog({ logger }),
      tracing(),
      loadBalancer({ upstreams, strategy: firstOf }),
      retry({ backoff: { baseMs: 0 } }),
      proxyPass(),
    );
    const target = (url: string) => ({
      'server.address': '127.0.0.1',
      'server.port': Number(new URL(url).port),
      'url.full': `${url}/traced/page?a=1&token=***`,
      'http.request.method': 'GET',
    });
    expect(spans.map(({ attributes }) => attributes)).toEqual([
      { ...target(upstreams[0] as string), 'error.type': 'ERR_PROXY_CONNECT' },
      {
        ...target(down.url),
        'http.request.resend_count': 1,
        'http.response.status_code': 503,
        'error.type': '503',
      },
      {
        ...target(up.url),
        'url.full': `${up.url}/base/traced/page?a=1&token=***`,
        'http.request.resend_count': 2,
        'http.response.status_code': 200,
      },
    ]);
    const { ERROR, UNSET } = SpanStatusCode;
    expect(spans.map(({ status }) => status.code)).toEqual([ERROR, ERROR, UNSET]);
    for (const { name, kind, parentSpanContext } of spans) {
      expect([name, kind]).toEqual(['GET', SpanKind.CLIENT]);
      expect(parentSpanContext).toMatchObject({ traceId: TRACE, spanId: PARENT });
    }
    const sent = [down, up].map((upstream) => onlyRequest(upstream).lines('traceparent'));
    expect(sent).toEqual(
      spans.slice(1).map((span) => [`00-${TRACE}-${span.spanContext().spanId}-01`]),
    );
    expect(onlyRequest(up).lines('baggage')).toEqual(['user=ada']);
    // The propagator has not taken over the state, so it would be that of another span.
    expect(onlyRequest(up).lines('tracestate')).toEqual([]);
    await eventually('the record', () => records.length === 1);
    expect(records[0]).toMatchObject({ traceId: TRACE, retries: 2 });
  });

  it('makes one trace of all tries where there is no parent', async () => {
    const [down, up] = [await rawUpstream(DOWN), await rawUpstream()];
    const balancer = loadBalancer({ upstreams: [down.url, up.url], strategy: firstOf });
    const again = retry({ backoff: { baseMs: 0 } });
    const bytes = request('GET /traced');
    const { spans } = await spansOf(2, bytes, balancer, again, tracing(), proxyPass());
    const [first, second] = spans.map((span) => span.spanContext());
    expect(second?.traceId).toBe(first?.traceId);
    expect(onlyRequest(up).lines('traceparent')).toEqual([
      `00-${second?.traceId}-${second?.spanId}-01`,
    ]);
  });

  it('belongs to the span of the server, which comes before what the client says', async () => {
    const { url } = await rawUpstream();
    let server: Span | undefined;
    const instrumented: Middleware = (_req, _res, next) => {
      server = trace.getTracer('test').startSpan('server');
      context.with(trace.setSpan(context.active(), server), next);
    };
    const bytes = request('GET /traced', FIELDS);
    const { spans } = await spansOf(1, bytes, instrumented, tracing(), proxyPass(url));
    expect(spans[0]?.parentSpanContext).toEqual(server?.spanContext());
  });

  it('continues no trace of those who are not trusted', async () => {
    const upstream = await rawUpstream();
    const bytes = request('GET /traced', FIELDS);
    const { spans } = await spansOf(1, bytes, tracing({ trust: false }), proxyPass(upstream.url));
    expect(spans[0]?.parentSpanContext).toBeUndefined();
    const { traceId = '', spanId = '' } = spans[0]?.spanContext() ?? {};
    expect(traceId).not.toBe(TRACE);
    expect(onlyRequest(upstream).lines('traceparent')).toEqual([`00-${traceId}-${spanId}-01`]);
    expect(onlyRequest(upstream).lines('baggage')).toEqual([]);
  });

  it('names methods that a client makes up by one word', async () => {
    const { url } = await rawUpstream();
    const { spans } = await spansOf(1, request('PROPFIND /traced'), tracing(), proxyPass(url));
    expect(spans[0]?.name).toBe('HTTP');
    expect(spans[0]?.attributes).toMatchObject({
      'http.request.method': '_OTHER',
      'http.request.method_original': 'PROPFIND',
    });
  });

  it('ends with the body, and says when that broke off', async () => {
    let finish = (): void => {};
    const { url } = await rawUpstream((_request, socket) => {
      finish = () => socket.end();
      return 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf';
    });
    const { port } = await gateway('express 5', tracing(), proxyPass(url));
    const client = await rawClient(port, request('GET /traced'));
    await client.until((text) => text.includes('half'));
    expect(setUp.spans()).toEqual([]);
    finish();
    await eventually('the span', () => setUp.spans().length === 1);
    const [span] = setUp.spans();
    expect(span?.attributes).toMatchObject({
      'http.response.status_code': 200,
      'error.type': 'ERR_PROXY_RESET',
    });
    expect(span?.status.code).toBe(SpanStatusCode.ERROR);
  });

  it('takes a client that leaves for nobody’s failure', async () => {
    const { url } = await rawUpstream(() => 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf');
    const { port } = await gateway('express 5', tracing(), proxyPass(url));
    const client = await rawClient(port, request('GET /traced'));
    await client.until((text) => text.includes('half'));
    client.socket.destroy();
    await eventually('the span', () => setUp.spans().length === 1);
    expect(setUp.spans()[0]?.attributes).toMatchObject({ 'error.type': 'ERR_PROXY_CLIENT_CLOSED' });
    expect(setUp.spans()[0]?.status.code).toBe(SpanStatusCode.UNSET);
  });

  it('leaves the spans of other requests of undici alone', async () => {
    const upstream = await rawUpstream(OK);
    const { spans } = await spansOf(1, request('GET /traced'), proxyPass(upstream.url));
    expect(spans[0]?.instrumentationScope.name).toContain('undici');
    expect(requestsOf(upstream)).toHaveLength(1);
  });

  it('sends the request all the same when what makes the spans throws', async () => {
    const throws = (): never => {
      throw new Error('no');
    };
    const { url } = await rawUpstream();
    const broken = [
      { trace: Object.assign(Object.create(trace), { getTracer: throws }) },
      { propagation: { ...openTelemetryApi.propagation, extract: throws } },
      { propagation: { extract: (active: unknown) => active, inject: throws } },
    ];
    for (const part of broken) {
      const api = { ...openTelemetryApi, ...part } as unknown as OpenTelemetryApi;
      const { port } = await gateway('express 5', tracing({ api }), proxyPass(url));
      expect((await rawRequest(port, request('GET /traced', FIELDS))).body).toBe('ok');
    }
  });
});
