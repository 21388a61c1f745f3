import { randomBytes } from 'node:crypto';
import type { Request, RequestHandler, Response } from 'express';
import session from 'express-session';
import type { Exchange, Verdict, Verifier } from 'headrace';

/** Who has signed in. */
export interface User {
  readonly id: string;
  readonly name: string;
  readonly groups: readonly string[];
  /** When that ends, however busy the session is. */
  readonly until: number;
}

/** A login that is under way, for its return. */
export interface PendingLogin {
  readonly state: string;
  readonly nonce: string;
  readonly codeVerifier: string;
  /** Where it leads. */
  readonly to: string;
}

declare module 'express-session' {
  interface SessionData {
    user: User;
    /** What the provider said, to be shown to it once more at the logout. */
    idToken: string;
    pendingLogin: PendingLogin;
  }
}

const COOKIE = 'gateway';
const COOKIE_OPTIONS = {
  path: '/',
  httpOnly: true,
  // `strict` would not bring the cookie along when the provider sends the browser back.
  sameSite: 'lax',
  // Behind HTTPS, it is for HTTPS alone.
  secure: 'auto',
} as const;

/** Sessions, in memory: a gateway of more than one process has a store for them. */
export function sessions(): RequestHandler {
  return session({
    name: COOKIE,
    secret: randomBytes(32).toString('base64url'),
    cookie: COOKIE_OPTIONS,
    resave: false,
    // Whoever only looks in gets no session.
    saveUninitialized: false,
  });
}

/** A session with an id that nobody can know from before. */
export function renewSession(req: Request): Promise<void> {
  return new Promise((resolve, reject) => {
    req.session.regenerate((error) => (error ? reject(error) : resolve()));
  });
}

/** Ends a session. */
export async function endSession(req: Request, res: Response): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    req.session.destroy((error) => (error ? reject(error) : resolve()));
  });
  res.clearCookie(COOKIE, { path: COOKIE_OPTIONS.path });
}

/** Knows clients by their session. Its cookie stays here: with it, the upstream could be the client. */
export const bySession: Verifier = {
  scheme: 'session',
  verify(exchange): Verdict {
    const { user } = (exchange.req as Request).session;
    withholdCookie(exchange);
    if (user === undefined) return undefined;
    const { id, name, groups, until } = user;
    if (Date.now() >= until) return { refused: 'expired' };
    return { subject: id, claims: { name, groups }, scheme: 'session' };
  },
};

function withholdCookie({ headers }: Exchange): void {
  const cookies = headers.get('cookie')?.split(/; */) ?? [];
  const others = cookies.filter((cookie) => !cookie.trim().startsWith(`${COOKIE}=`));
  if (others.length === 0) headers.delete('cookie');
  else headers.set('cookie', others.join('; '));
}
