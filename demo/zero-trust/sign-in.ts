import { type Request, Router } from 'express';
import {
  allowInsecureRequests,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  buildEndSessionUrl,
  ClientSecretBasic,
  type Configuration,
  calculatePKCECodeChallenge,
  discovery,
  enableNonRepudiationChecks,
  type IDToken,
  randomNonce,
  randomPKCECodeVerifier,
  randomState,
} from 'openid-client';
import { page } from './page.js';
import type { Client } from './provider.js';
import { endSession, type PendingLogin, renewSession, type User } from './session.js';

/** After this time, the provider is asked once more: that is how long a change of groups may take. */
const SIGNED_IN_MS = 3_600_000;

/** What is to be said about where things are. */
export interface SignInOptions {
  /** The gateway, by the name that browsers know: never what a request says in `Host`. */
  readonly self: string;
  readonly issuer: string;
  readonly client: Client;
}

/** Login and logout: what leads to a session with a user, and what ends it. */
export async function signIn(
  { self, issuer, client }: SignInOptions,
  log: (line: string) => void,
): Promise<Router> {
  const config = await discovery(
    new URL(issuer),
    client.id,
    { id_token_signed_response_alg: 'ES256' },
    ClientSecretBasic(client.secret),
    // The first is for a provider on this machine alone. The second checks signatures of ID tokens; without
    // it, they are believed for the TLS connection that they come by.
    { execute: [allowInsecureRequests, enableNonRepudiationChecks] },
  );
  const router = Router();

  router.get('/login', async (req, res) => {
    const to = ownUrl(req.query.to ?? '/', self);
    if (to === undefined) {
      res.status(400).send(page('Logins do not lead there', '<a href="/">Home</a>'));
      return;
    }
    const [state, nonce, codeVerifier] = [randomState(), randomNonce(), randomPKCECodeVerifier()];
    req.session.pendingLogin = { state, nonce, codeVerifier, to };
    const url = buildAuthorizationUrl(config, {
      redirect_uri: client.callback,
      scope: 'openid profile groups',
      state,
      nonce,
      code_challenge: await calculatePKCECodeChallenge(codeVerifier),
      code_challenge_method: 'S256',
    });
    res.set('Cache-Control', 'no-store').redirect(url.href);
  });

  router.get('/callback', async (req, res) => {
    const pending = req.session.pendingLogin;
    // Whatever comes of it: a login returns once.
    delete req.session.pendingLogin;
    try {
      if (pending === undefined) throw new Error('no login is under way');
      const tokens = await tokensFor(req, pending, config, client);
      const user = userIn(tokens.claims() as IDToken);
      await renewSession(req);
      Object.assign(req.session, { user, idToken: tokens.id_token });
      log(`${user.id} has signed in`);
      res.redirect(pending.to);
    } catch (error) {
      log(`a login failed: ${(error as Error).message}`);
      res.status(400).send(page('The login did not work', '<a href="/">Once more</a>'));
    }
  });

  router.post('/logout', async (req, res) => {
    const { idToken, user } = req.session;
    await endSession(req, res);
    if (idToken === undefined) return res.redirect(303, '/bye');
    log(`${user?.id} has signed out`);
    const url = buildEndSessionUrl(config, {
      id_token_hint: idToken,
      post_logout_redirect_uri: client.bye,
    });
    res.redirect(303, url.href);
  });

  router.get('/bye', (_req, res) => {
    res.send(page('You are signed out', '<a href="/">Sign in</a>'));
  });

  return router;
}

/** Has state, nonce, issuer, audience, signature and time checked. */
function tokensFor(
  { originalUrl }: Request,
  { state, nonce, codeVerifier }: PendingLogin,
  config: Configuration,
  client: Client,
): ReturnType<typeof authorizationCodeGrant> {
  const [, query = ''] = originalUrl.split('?');
  return authorizationCodeGrant(config, new URL(`${client.callback}?${query}`), {
    expectedState: state,
    expectedNonce: nonce,
    pkceCodeVerifier: codeVerifier,
    idTokenExpected: true,
  });
}

function userIn({ sub: id, name, groups }: IDToken): User {
  return {
    id,
    name: String(name ?? id),
    groups: Array.isArray(groups) ? groups.map(String) : [],
    until: Date.now() + SIGNED_IN_MS,
  };
}

/**
 * A place of ours, whole: as a path alone, `//elsewhere` would be another host. Parsed as browsers do it, since
 * they take `/\` and a tab between slashes for the same.
 */
function ownUrl(to: unknown, self: string): string | undefined {
  if (typeof to !== 'string' || !URL.canParse(to, self)) return undefined;
  const { origin, href } = new URL(to, self);
  return origin === self ? href : undefined;
}
