import express, { type Express, type RequestHandler } from 'express';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { page, text } from './page.js';

/** What stands behind the gateway, and believes nobody but its assertions: not even who comes from within. */
export function upstream(self: string, gateway: string): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use(verifyAssertion(self, gateway));

  app.get('/', (_req, res) => {
    const { name, groups } = res.locals.user;
    res.send(
      page(
        `Hello, ${name}`,
        `<p>The gateway says that you are in ${text(groups.join(' and '))}.</p>
         <p><a href="/admin">For admins</a> <a href="/whoami">What the gateway said</a></p>
         <form method="post" action="/logout"><button>Log out</button></form>`,
      ),
    );
  });

  app.get('/admin', (_req, res) => {
    res.send(page('For admins', `<p>You are one, ${text(res.locals.user.name)}.</p>`));
  });

  app.get('/whoami', (req, res) => {
    res.json({ user: res.locals.user, headers: req.headers });
  });

  return app;
}

/** Puts what the gateway asserts on `res.locals.user`, once the signature is found to be the gateway's. */
function verifyAssertion(self: string, gateway: string): RequestHandler {
  const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', gateway));
  const checks = { issuer: gateway, audience: self, algorithms: ['EdDSA'] };

  return async (req, res, next) => {
    try {
      const assertion = String(req.headers['x-headrace-assertion']);
      res.locals.user = (await jwtVerify(assertion, keys, checks)).payload;
    } catch {
      res.status(401).send('The gateway has not said who you are.\n');
      return;
    }
    // What is for one user is kept by nobody, and not shown by Back after the logout.
    res.set('Cache-Control', 'no-store');
    next();
  };
}
