import { generateKeyPairSync } from 'node:crypto';
import express, { type ErrorRequestHandler, type Express } from 'express';
import {
  assertIdentity,
  authenticate,
  authorize,
  forwardedFor,
  isProxyError,
  proxyErrors,
  proxyPass,
} from 'headrace';
import { bySession, sessions } from './session.js';
import { type SignInOptions, signIn } from './sign-in.js';

/** Where the gateway is, and what it stands in front of. */
export interface GatewayOptions extends SignInOptions {
  readonly upstream: string;
}

/** A gateway that lets nobody through whom it does not know, and tells the upstream who it is. */
export async function gateway(
  { upstream, ...options }: GatewayOptions,
  log: (line: string) => void,
): Promise<Express> {
  const app = express();
  app.disable('x-powered-by');

  const assertion = assertIdentity({
    signingKey: generateKeyPairSync('ed25519').privateKey,
    claims: ['name', 'groups'],
    headers: { 'x-user': 'sub' },
    issuer: options.self,
    audience: upstream,
  });
  app.get('/.well-known/jwks.json', assertion.jwksHandler());

  app.use(sessions());
  app.use(await signIn(options, log));
  app.use(
    authenticate(bySession),
    authorize({
      allow: [
        { path: ['/', '/whoami'], claims: {} },
        { path: '/admin/**', claims: { groups: 'admins' } },
      ],
    }),
    forwardedFor(),
    assertion,
    proxyPass(upstream),
  );

  app.use(toLogin);
  app.use(proxyErrors({ log: (error, req) => log(`${req.method} ${req.url}: ${error.code}`) }));
  return app;
}

/** Nobody who looks for a page is sent to the login; scripts and WebSockets get their 401. */
const toLogin: ErrorRequestHandler = (error, req, res, next) => {
  const isNobody = isProxyError(error) && error.code === 'ERR_PROXY_UNAUTHORIZED';
  const isPage = req.method === 'GET' && req.headers.accept?.includes('text/html');
  if (!isNobody || !isPage) return next(error);
  res.set('Cache-Control', 'no-store').redirect(`/login?to=${encodeURIComponent(req.originalUrl)}`);
};
