import { describe, expect, it } from '@jest/globals';
import {
  BodyTimeoutError,
  ConnectError,
  exchangeOf,
  type Handler,
  LoopError,
  loadBalancer,
  modifyResponse,
  OverloadedError,
  ProxyError,
  ProxyErrorCode,
  proxyErrors,
  proxyPass,
  proxyStatus,
  retry,
  UpstreamResponse,
} from 'headrace';
import { rawRequest } from '../helpers/client.js';
import { request } from '../helpers/requests.js';
import { frameworks, gateway, type Middleware, rawUpstream, refusing } from '../helpers/servers.js';

/** The field of the answer that a pipeline gives. */
async function statusField(...middleware: Middleware[]): Promise<string | undefined> {
  const { port } = await gateway('express 5', ...middleware);
  return (await rawRequest(port, request('GET /'))).header('proxy-status');
}

/** Fails every call with an error. */
function failing(error: unknown): Handler {
  return (req, res, next) => {
    exchangeOf(req, res).around(async () => {
      throw error;
    });
    next?.();
  };
}

describe('proxyStatus on answers', () => {
  it('tells the status that the upstream sent', async () => {
    const { url } = await rawUpstream('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n');
    expect(await statusField(proxyStatus(), proxyPass(url))).toBe('headrace; received-status=404');
  });

  it('tells the status that was received where an edit has changed it', async () => {
    const { url } = await rawUpstream();
    const edit = modifyResponse((response) => {
      response.status = 203;
    });
    expect(await statusField(proxyStatus(), edit, proxyPass(url))).toContain('received-status=200');
  });

  it('stands behind what proxies nearer to the origin said', async () => {
    const { url } = await rawUpstream(
      'HTTP/1.1 200 OK\r\nProxy-Status: inner; received-status=200\r\nContent-Length: 0\r\n\r\n',
    );
    const { port } = await gateway('express 5', proxyStatus({ name: 'edge' }), proxyPass(url));
    const { headers } = await rawRequest(port, request('GET /'));
    expect(headers.filter(([name]) => name.toLowerCase() === 'proxy-status')).toEqual([
      ['Proxy-Status', 'inner; received-status=200'],
      ['Proxy-Status', 'edge; received-status=200'],
    ]);
  });

  it('tells of the last try alone', async () => {
    const { url } = await rawUpstream();
    const balancer = loadBalancer({ upstreams: [await refusing(), url] });
    const field = await statusField(proxyStatus(), balancer, retry(), proxyPass());
    expect(field).toBe('headrace; received-status=200');
  });

  it('names no status where the answer is no upstream’s', async () => {
    const own: Handler = (req, res, next) => {
      exchangeOf(req, res).around(async () => new UpstreamResponse({ body: 'hi' }));
      next?.();
    };
    expect(await statusField(proxyStatus(), own, proxyPass('http://127.0.0.1:9'))).toBe('headrace');
  });

  it('is off unless it is mounted', async () => {
    const { url } = await rawUpstream();
    expect(await statusField(proxyPass(url))).toBeUndefined();
    expect(await statusField(proxyPass(await refusing()))).toBeUndefined();
  });

  it('writes a name that is no token as a string', async () => {
    const { url } = await rawUpstream();
    expect(await statusField(proxyStatus({ name: 'the "edge"' }), proxyPass(url))).toBe(
      '"the \\"edge\\""; received-status=200',
    );
  });
});

describe('proxyStatus on failures', () => {
  it.each(frameworks)(
    'reaches the answer of the default error handler of %s',
    async (framework) => {
      const middleware = [proxyStatus(), proxyPass(await refusing())];
      const { port } = await gateway(framework, ...middleware);
      const answer = await rawRequest(port, request('GET /'));
      expect(answer.status).toBe(502);
      expect(answer.header('proxy-status')).toBe('headrace; error=connection_refused');
    },
  );

  it('reaches the answer of proxyErrors(), and keeps the upstream to itself', async () => {
    const url = await refusing();
    const { port } = await gateway('express 5', proxyStatus(), proxyPass(url), proxyErrors());
    const answer = await rawRequest(port, request('GET /'));
    expect(answer.header('proxy-status')).toBe('headrace; error=connection_refused');
    expect(JSON.stringify(answer)).not.toContain(new URL(url).port);
  });

  it('tells the status that came before it failed', async () => {
    const { url } = await rawUpstream();
    const edit = modifyResponse(() => {
      throw new Error('no');
    });
    expect(await statusField(proxyStatus(), edit, proxyPass(url))).toBe(
      'headrace; error=proxy_internal_error; received-status=200',
    );
  });

  it('tells why no upstream was chosen, and of requests that were refused', async () => {
    const balancer = loadBalancer({ upstreams: [] });
    expect(await statusField(proxyStatus(), balancer, proxyPass())).toBe(
      'headrace; error=destination_unavailable',
    );
    const { port } = await gateway('express 5', proxyStatus(), proxyPass('http://127.0.0.1:9'));
    const { status, header } = await rawRequest(port, request('TRACE /'));
    expect([status, header('proxy-status')]).toEqual([405, 'headrace; error=http_request_error']);
  });

  it('says nothing about errors that are not of the pipeline', async () => {
    const broken: Middleware = (_req, _res, next) => next(new Error('of the app'));
    expect(await statusField(proxyStatus(), broken)).toBeUndefined();
  });

  it.each([
    ['ENOTFOUND', 'dns_error'],
    ['EAI_AGAIN', 'dns_error'],
    ['EHOSTUNREACH', 'destination_ip_unroutable'],
    ['ETIMEDOUT', 'connection_timeout'],
    ['CERT_HAS_EXPIRED', 'tls_certificate_error'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'tls_certificate_error'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'tls_certificate_error'],
    ['EPROTO', 'tls_protocol_error'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'tls_protocol_error'],
    ['EMFILE', 'destination_unavailable'],
  ])('tells a connection that fails with %s as %s', async (code, type) => {
    const cause = Object.assign(new Error(code), { code });
    const fails = failing(new ConnectError({ cause }));
    const field = await statusField(proxyStatus(), fails, proxyPass('http://127.0.0.1:9'));
    expect(field).toBe(`headrace; error=${type}`);
  });

  it('has a registered type for every code', async () => {
    // RFC 9209, 2.3, and the IANA registry made of it.
    const registered =
      /^(dns_timeout|dns_error|destination_(not_found|unavailable|ip_prohibited|ip_unroutable)|connection_(refused|terminated|timeout|read_timeout|write_timeout|limit_reached)|tls_(protocol_error|certificate_error|alert_received)|http_request_(error|denied)|http_response_(incomplete|header_section_size|header_size|body_size|trailer_section_size|trailer_size|transfer_coding|content_coding|timeout)|http_upgrade_failed|http_protocol_error|proxy_(internal_response|internal_error|configuration_error|loop_detected))$/;
    const codes = Object.keys(ProxyErrorCode) as ProxyErrorCode[];
    for (const code of codes) {
      // Whoever has left is answered nothing.
      if (code === 'ERR_PROXY_CLIENT_CLOSED') continue;
      const fails = failing(new ProxyError(code, 502, 'it failed'));
      const field = await statusField(proxyStatus(), fails, proxyPass('http://127.0.0.1:9'));
      expect([code, field?.replace('headrace; error=', '')]).toEqual([
        code,
        expect.stringMatching(registered),
      ]);
    }
    expect.assertions(codes.length - 1);
  });

  it('tells a loop, an overload and a client that is too slow apart', async () => {
    const fieldFor = (error: unknown) =>
      statusField(proxyStatus(), failing(error), proxyPass('http://127.0.0.1:9'));
    expect(await fieldFor(new LoopError())).toContain('error=proxy_loop_detected');
    expect(await fieldFor(new OverloadedError())).toContain('error=connection_limit_reached');
    expect(await fieldFor(new BodyTimeoutError())).toContain('error=connection_read_timeout');
    expect(await fieldFor(new BodyTimeoutError({}, 408))).toContain('error=http_request_error');
    expect(await fieldFor(new Error('a bug'))).toContain('error=proxy_internal_error');
  });
});

describe('proxyStatus options', () => {
  it.each(['', 'zwölf', 'a\r\nSet-Cookie: b', 3, null])('refuse the name %p', (name) => {
    expect(() => proxyStatus({ name: name as string })).toThrow(
      /^proxyStatus: name must be printable ASCII, received /,
    );
  });

  it('refuse what they do not know', () => {
    expect(() => proxyStatus({ nmae: 'x' } as object)).toThrow(
      'proxyStatus: unknown option "nmae", did you mean "name"?',
    );
  });
});
