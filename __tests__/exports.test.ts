import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import * as headrace from 'headrace';

describe('the public door', () => {
  it('exports the pieces, the building blocks and the errors, and nothing else', () => {
    expect(Object.keys(headrace).sort()).toEqual([
      'AuthUnavailableError',
      'BadRequestError',
      'BadResponseError',
      'BodyConsumedError',
      'BodyTimeoutError',
      'BodyTooLargeError',
      'CircuitOpenError',
      'ClientClosedError',
      'ConnectError',
      'ConnectTimeoutError',
      'ForbiddenError',
      'ForbiddenTargetError',
      'HeaderList',
      'HeadersTimeoutError',
      'LoopError',
      'ModifyResponseError',
      'NoTargetError',
      'NoUpstreamError',
      'OverloadedError',
      'ProxyError',
      'ProxyErrorCode',
      'RateLimitStoreError',
      'RateLimitedError',
      'ResetError',
      'UnauthorizedError',
      'UpgradeError',
      'Upstream',
      'UpstreamPool',
      'UpstreamResponse',
      'accessLog',
      'addressList',
      'apiKey',
      'assertIdentity',
      'attach',
      'authenticate',
      'authorize',
      'basicAuth',
      'bearerJwt',
      'cache',
      'circuitBreaker',
      'clientCertificate',
      'concurrencyLimit',
      'consistentHash',
      'exchangeOf',
      'fallback',
      'forwardAuth',
      'forwardProxy',
      'forwardedFor',
      'fromDns',
      'fromFile',
      'healthEndpoint',
      'ipHash',
      'isProxyError',
      'leastConnections',
      'loadBalancer',
      'logTokens',
      'metrics',
      'modifyResponse',
      'peakEwma',
      'powerOfTwo',
      'proxyErrors',
      'proxyPass',
      'proxyStatus',
      'random',
      'rateLimiter',
      'requestId',
      'retry',
      'reverseProxy',
      'rewriteCookies',
      'rewriteRedirects',
      'rewriteUrl',
      'roundRobin',
      'sendResponse',
      'statusPage',
      'stripHopHeaders',
      'tracing',
      'weightedRoundRobin',
    ]);
  });

  it('has no default export', () => {
    expect(headrace).not.toHaveProperty('default');
  });

  it('names handlers after their factories, as stack traces show them', () => {
    const { concurrencyLimit, rateLimiter } = headrace;
    const { fallback, forwardedFor, loadBalancer, modifyResponse, proxyErrors, proxyPass } =
      headrace;
    const { reverseProxy, rewriteCookies, rewriteRedirects, rewriteUrl } = headrace;
    const { sendResponse, stripHopHeaders } = headrace;
    const { addressList, assertIdentity, authorize } = headrace;
    const signingKey = generateKeyPairSync('ed25519').privateKey;
    const { accessLog, healthEndpoint, requestId, tracing } = headrace;
    const handlers = {
      authenticate: headrace.authenticate(headrace.apiKey({ lookup: {} })),
      accessLog: accessLog({ logger: console }),
      healthEndpoint: healthEndpoint(),
      requestId: requestId(),
      tracing: tracing({ api: false }),
      addressList: addressList({ deny: [] }),
      assertIdentity: assertIdentity({ signingKey }),
      forwardAuth: headrace.forwardAuth({ url: 'http://a' }),
      authorize: authorize({ allow: [] }),
      concurrencyLimit: concurrencyLimit({ limit: 1 }),
      fallback: fallback(() => undefined),
      forwardProxy: headrace.forwardProxy(),
      forwardedFor: forwardedFor(),
      loadBalancer: loadBalancer({ upstreams: [] }),
      modifyResponse: modifyResponse(() => {}),
      proxyErrors: proxyErrors(),
      proxyPass: proxyPass(),
      rateLimiter: rateLimiter(),
      reverseProxy: reverseProxy('http://a'),
      rewriteCookies: rewriteCookies({}),
      rewriteRedirects: rewriteRedirects(),
      rewriteUrl: rewriteUrl({}),
      sendResponse: sendResponse(),
      statusPage: headrace.statusPage({ pools: {} }),
      stripHopHeaders: stripHopHeaders(),
    };
    for (const [factory, handler] of Object.entries(handlers)) {
      expect(handler.name).toBe(`${factory}Middleware`);
      // Express and Connect know error handlers by their four parameters.
      expect(handler.length).toBe(factory === 'proxyErrors' ? 4 : 3);
    }
  });
});
