/** What options of http-proxy and its kin are here, for those who come from there. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  agent: 'connections, keepAliveMs and tls say how to connect',
  auth: 'credentials for the upstream stand in its URL',
  autoRewrite: 'rewriteRedirects() does that, and reverseProxy() has it by default',
  buffer: 'a body that a parser has read is sent again by itself',
  changeOrigin: 'true is what is done here, and false is host: "client"',
  cookieDomainRewrite: 'rewriteCookies({ domain }) does that',
  cookiePathRewrite: 'rewriteCookies({ path }) does that',
  followRedirects: 'redirects are for the client to follow',
  headers: 'exchangeOf(req, res).headers.set() in a middleware before does that',
  hostRewrite: 'rewriteRedirects() does that, and reverseProxy() has it by default',
  logger: 'accessLog() and proxyErrors({ log }) take loggers',
  on: 'modifyResponse() has the response, middleware before has the request, proxyErrors({ log }) has errors',
  pathFilter: 'app.use(path, …) does that',
  pathRewrite: 'rewriteUrl takes the same object or function',
  protocolRewrite: 'rewriteRedirects() does that, and reverseProxy() has it by default',
  proxyTimeout: 'headersTimeoutMs and bodyTimeoutMs are how long to wait for the upstream',
  router: 'the target may be a function',
  secure: 'tls: { ca } is for certificates of your own, tls: { rejectUnauthorized: false } for any',
  selfHandleResponse: 'modifyResponse() reads and replaces bodies without it',
  timeout: 'bodyTimeoutMs is how long a client may stand still',
  ws: 'attach(server, app) brings WebSockets here',
  xfwd: 'forwardedFor() does that, and reverseProxy() has it by default',
};

/** @throws TypeError that says what to take in place of another proxy's option. */
export function refuseForeign(factory: string, options: object): void {
  const name = Object.keys(ELSEWHERE).find((one) => Object.hasOwn(options, one));
  if (name === undefined) return;
  // It needs none, on or off.
  const what = name === 'ws' ? '"ws" is no option' : `unknown option "${name}"`;
  throw new TypeError(`${factory}: ${what}; ${ELSEWHERE[name]}`);
}
