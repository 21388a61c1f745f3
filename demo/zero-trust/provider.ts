import { generateKeyPairSync, randomBytes } from 'node:crypto';
import express, { type ErrorRequestHandler, type Express } from 'express';
import Provider, { type AccountClaims } from 'oidc-provider';
import { page, text } from './page.js';

/** What provider and gateway know of each other. */
export interface Client {
  readonly id: string;
  readonly secret: string;
  /** Where logins lead back to. */
  readonly callback: string;
  /** Where logouts lead back to. */
  readonly bye: string;
}

interface Account {
  /** In clear, since this is a stand-in for the provider that you have. */
  readonly password: string;
  readonly name: string;
  readonly groups: readonly string[];
}

/** Who can log in. */
export const accounts: ReadonlyMap<string, Account> = new Map([
  ['ada', { password: 'lovelace', name: 'Ada Lovelace', groups: ['staff', 'admins'] }],
  ['grace', { password: 'hopper', name: 'Grace Hopper', groups: ['staff'] }],
]);

/** An OpenID provider with one client, the gateway, and a login form. All that it knows is in memory. */
export function provider(issuer: string, client: Client): Express {
  const oidc = new Provider(issuer, {
    clients: [
      {
        client_id: client.id,
        client_secret: client.secret,
        redirect_uris: [client.callback],
        post_logout_redirect_uris: [client.bye],
        id_token_signed_response_alg: 'ES256',
      },
    ],
    jwks: { keys: [signingKey()] },
    cookies: {
      keys: [randomBytes(32).toString('base64url')],
      long: { sameSite: 'lax', signed: true },
    },
    // In seconds. Whoever comes back within the first is not asked for a password.
    ttl: {
      Session: 28_800,
      Grant: 28_800,
      Interaction: 600,
      AuthorizationCode: 60,
      AccessToken: 600,
      IdToken: 3_600,
    },
    claims: { openid: ['sub'], profile: ['name'], groups: ['groups'] },
    // The gateway reads the ID token, and does not ask for more.
    conformIdTokenClaims: false,
    pkce: { methods: ['S256'], required: () => true },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => claimsOf(id) }),
    // The gateway belongs to the house: nobody is asked whether it may know who they are.
    async loadExistingGrant({ oidc: { provider: own, client: asking, session } }) {
      const grant = new own.Grant({ clientId: asking?.clientId, accountId: session?.accountId });
      grant.addOIDCScope('openid profile groups');
      await grant.save();
      return grant;
    },
    interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: {
        logoutSource: (ctx, form) => {
          ctx.body = page(
            'Log out here, too?',
            `${form}<button form="op.logoutForm" name="logout" value="yes">Yes</button>
             <button form="op.logoutForm">No</button>`,
          );
        },
      },
    },
    renderError: (ctx, { error, error_description: description }) => {
      ctx.type = 'html';
      ctx.body = page('That did not work', `<p>${text(error)}: ${text(description)}</p>`);
    },
  });

  const app = express();
  app.disable('x-powered-by');
  app.get('/interaction/:uid', async (req, res) => {
    await oidc.interactionDetails(req, res);
    res.set('Cache-Control', 'no-store').send(loginForm(''));
  });
  app.post('/interaction/:uid', express.urlencoded({ extended: false }), async (req, res) => {
    const { user, password } = (req.body ?? {}) as Record<string, unknown>;
    const account = accounts.get(String(user));
    if (account === undefined || account.password !== password) {
      res.status(401).send(loginForm('<p>Nobody has this name and this password.</p>'));
      return;
    }
    await oidc.interactionFinished(req, res, { login: { accountId: String(user) } });
  });
  app.use(oidc.callback());
  app.use(sayWhatFailed);
  return app;
}

function signingKey(): object {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' };
}

function claimsOf(id: string): AccountClaims {
  const { name, groups } = accounts.get(id) as Account;
  return { sub: id, name, groups };
}

function loginForm(hint: string): string {
  return page(
    'Who are you?',
    `${hint}<form method="post">
       <input name="user" placeholder="name" autocomplete="username" autofocus />
       <input name="password" type="password" placeholder="password" autocomplete="current-password" />
       <button>Log in</button>
     </form>`,
  );
}

/** A login that was left lying for too long, mostly. */
const sayWhatFailed: ErrorRequestHandler = (error, _req, res, next) => {
  if (res.headersSent) return next(error);
  res
    .status(Number(error.statusCode ?? 500))
    .send(page('That did not work', '<p>Begin again.</p>'));
};
