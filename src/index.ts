export type { CacheGauge, CacheStats } from './caching/cache-metrics.js';
export type { ConnectionOptions } from './connection-settings.js';
export type { AccessAttempt, AccessRecord } from './exchange/access-record.js';
export type { Attempt } from './exchange/attempt.js';
export type { BodyInit } from './exchange/body-bytes.js';
export type { Trusts } from './exchange/client.js';
export {
  AuthUnavailableError,
  BadRequestError,
  BadResponseError,
  BodyConsumedError,
  BodyTimeoutError,
  BodyTooLargeError,
  CircuitOpenError,
  ClientClosedError,
  ConnectError,
  ConnectTimeoutError,
  ForbiddenError,
  ForbiddenTargetError,
  HeadersTimeoutError,
  isProxyError,
  LoopError,
  ModifyResponseError,
  NoTargetError,
  NoUpstreamError,
  OverloadedError,
  ProxyError,
  ProxyErrorCode,
  type ProxyErrorOptions,
  RateLimitedError,
  RateLimitStoreError,
  ResetError,
  UnauthorizedError,
  UpgradeError,
} from './exchange/errors.js';
export {
  type Around,
  type Exchange,
  exchangeOf,
  type Handler,
  type Next,
  type ResponseEdit,
  type Send,
  type SettledExchange,
} from './exchange/exchange.js';
export type { FailureHandler, Substitute } from './exchange/fallback.js';
export { HeaderList, type HeadersInit } from './exchange/header-list.js';
export type { HeaderOverlay } from './exchange/header-overlay.js';
export type { Identity } from './exchange/identity.js';
export { type LogToken, type LogTokenName, logTokens } from './exchange/log-tokens.js';
export type { MetricsRegistry } from './exchange/metrics-registry.js';
export type { Outcome, OutcomeType } from './exchange/outcome.js';
export type { MetricLabel } from './exchange/request-groups.js';
export type { Trust } from './exchange/trust.js';
export { type ResponseInit, UpstreamResponse } from './exchange/upstream-response.js';
export {
  type ApiKeyLookup,
  type ApiKeyOptions,
  type ApiKeyOwner,
  apiKey,
} from './identity/api-key.js';
export { type BasicAuthOptions, basicAuth } from './identity/basic-auth.js';
export { type BearerJwtOptions, bearerJwt, type JwksOptions } from './identity/bearer-jwt.js';
export { type ClientCertificateOptions, clientCertificate } from './identity/client-certificate.js';
export type { PublicKey } from './identity/jwt-keys.js';
export type { Refusals } from './identity/refusal-log.js';
export type { Refusal, Verdict, Verifier } from './identity/verifier.js';
export {
  type AccessLogger,
  type AccessLogOptions,
  accessLog,
} from './pieces/access-log.js';
export { type AddressListOptions, addressList } from './pieces/address-list.js';
export {
  type AssertIdentity,
  type AssertIdentityOptions,
  assertIdentity,
  type ClaimsFunction,
} from './pieces/assert-identity.js';
export { type AuthenticateOptions, authenticate } from './pieces/authenticate.js';
export { type AuthorizeOptions, authorize } from './pieces/authorize.js';
export {
  type Cache,
  type CachedResponse,
  type CacheOptions,
  cache,
} from './pieces/cache.js';
export {
  type CircuitBreaker,
  type CircuitBreakerOptions,
  circuitBreaker,
} from './pieces/circuit-breaker.js';
export {
  type ConcurrencyLimit,
  type ConcurrencyLimitOptions,
  type ConcurrencyQueueOptions,
  concurrencyLimit,
} from './pieces/concurrency-limit.js';
export { type Fallback, fallback } from './pieces/fallback.js';
export { type ForwardAuth, type ForwardAuthOptions, forwardAuth } from './pieces/forward-auth.js';
export {
  type ForwardProxy,
  type ForwardProxyOptions,
  forwardProxy,
} from './pieces/forward-proxy.js';
export {
  type ForwardedField,
  type ForwardedForOptions,
  forwardedFor,
} from './pieces/forwarded-for.js';
export {
  type HealthEndpoint,
  type HealthEndpointOptions,
  healthEndpoint,
} from './pieces/health-endpoint.js';
export {
  type LoadBalancer,
  type LoadBalancerOptions,
  loadBalancer,
} from './pieces/load-balancer.js';
export { type Metrics, type MetricsOptions, metrics } from './pieces/metrics.js';
export { type ModifyResponseOptions, modifyResponse } from './pieces/modify-response.js';
export {
  type ErrorHandler,
  type ProxyErrorsOptions,
  proxyErrors,
  type RenderedError,
} from './pieces/proxy-errors.js';
export {
  type ProxyPass,
  type ProxyPassOptions,
  proxyPass,
  type Target,
  type TargetFunction,
} from './pieces/proxy-pass.js';
export { type ProxyStatusOptions, proxyStatus } from './pieces/proxy-status.js';
export {
  type RateLimiter,
  type RateLimiterOptions,
  type RateLimitHandler,
  type RateLimitLogger,
  rateLimiter,
} from './pieces/rate-limiter.js';
export { type RequestIdOptions, requestId } from './pieces/request-id.js';
export {
  type Retry,
  type RetryBackoffOptions,
  type RetryBudgetOptions,
  type RetryOptions,
  retry,
} from './pieces/retry.js';
export {
  type ReverseProxy,
  type ReverseProxyOptions,
  reverseProxy,
} from './pieces/reverse-proxy.js';
export {
  type CookieMapping,
  type RewriteCookiesOptions,
  rewriteCookies,
} from './pieces/rewrite-cookies.js';
export { type RewriteRedirectsOptions, rewriteRedirects } from './pieces/rewrite-redirects.js';
export { type RewriteFunction, type RewriteRules, rewriteUrl } from './pieces/rewrite-url.js';
export { sendResponse } from './pieces/send-response.js';
export { type StatusPage, type StatusPageOptions, statusPage } from './pieces/status-page.js';
export { type StripHopHeadersOptions, stripHopHeaders } from './pieces/strip-hop-headers.js';
export { type TracingOptions, tracing } from './pieces/tracing.js';
export { type App, type Attached, type AttachOptions, attach } from './server/attach.js';
export type { AccessFacts } from './transport/access-request.js';
export type { AccessCheck, AccessRule, ClaimCondition } from './transport/access-rule.js';
export type { OpenTelemetryApi } from './transport/open-telemetry.js';
export type { TargetLookup } from './transport/permitted.js';
export type { TransportOptions } from './transport/settings.js';
export type { SigningKey } from './transport/signer.js';
export type { TargetCheck, TargetFacts, TargetRule } from './transport/target-rules.js';
export type { ActiveHealthOptions } from './upstreams/active-health.js';
export type { BreakerGauge, CircuitCounts } from './upstreams/breaker-metrics.js';
export type { BudgetGauge } from './upstreams/budget-metrics.js';
export type { CircuitChange, CircuitState, CircuitStatus } from './upstreams/circuit.js';
export type { CircuitListener } from './upstreams/circuits.js';
export type { Discovery } from './upstreams/discovery/discovery.js';
export type { DnsResolver, RecordType } from './upstreams/discovery/dns-records.js';
export { type FromDnsOptions, fromDns } from './upstreams/discovery/from-dns.js';
export { type FromFileOptions, fromFile } from './upstreams/discovery/from-file.js';
export type { FallbackHandler } from './upstreams/fallback-option.js';
export type { CallResult } from './upstreams/judge.js';
export type { LimitGauge } from './upstreams/limit-metrics.js';
export type { LoadWatcher } from './upstreams/load-watcher.js';
export type { PassiveHealthOptions } from './upstreams/passive-health.js';
export { UpstreamPool } from './upstreams/pool.js';
export type {
  HealthOptions,
  PoolListener,
  UpstreamPoolEvents,
  UpstreamPoolOptions,
} from './upstreams/pool-options.js';
export type { PerRequest, RateLimitInfo, RateLimitStore } from './upstreams/rate-limit.js';
export type { UpstreamStats } from './upstreams/stats.js';
export type { StickyOptions } from './upstreams/sticky.js';
export {
  type ConsistentHashOptions,
  consistentHash,
} from './upstreams/strategies/consistent-hash.js';
export type { StrategyName } from './upstreams/strategies/index.js';
export { ipHash } from './upstreams/strategies/ip-hash.js';
export { leastConnections } from './upstreams/strategies/least-connections.js';
export { type PeakEwmaOptions, peakEwma } from './upstreams/strategies/peak-ewma.js';
export { type PowerOfTwoOptions, powerOfTwo } from './upstreams/strategies/power-of-two.js';
export { type RandomOptions, random } from './upstreams/strategies/random.js';
export type { RequestKey } from './upstreams/strategies/request-key.js';
export { roundRobin } from './upstreams/strategies/round-robin.js';
export { weightedRoundRobin } from './upstreams/strategies/weighted-round-robin.js';
export type { Strategy } from './upstreams/strategy.js';
export {
  type Bar,
  Upstream,
  type UpstreamInit,
  type UpstreamOptions,
} from './upstreams/upstream.js';
