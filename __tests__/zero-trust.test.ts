import { once } from 'node:events';
import { beforeAll, describe, expect, it } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { WebSocket } from 'ws';
import { chromium } from './helpers/browser.js';
import { runDemo } from './helpers/demo.js';
import { closeAfter, openForAll, serve } from './helpers/servers.js';
import { type Visit, Visitor } from './helpers/visitor.js';

const FREE = {
  ZERO_TRUST_GATEWAY_PORT: '0',
  ZERO_TRUST_PROVIDER_PORT: '0',
  ZERO_TRUST_UPSTREAM_PORT: '0',
};
const ADA = { user: 'ada', password: 'lovelace' };
const GRACE = { user: 'grace', password: 'hopper' };

let demo: ReturnType<typeof runDemo>;
let gateway: string;
let provider: string;
let upstream: string;

beforeAll(async () => {
  await openForAll(async () => {
    demo = runDemo('demo:zero-trust', FREE);
    const text = await demo.output((all) => all.includes('Ctrl+C'));
    const at = (name: string) => new RegExp(`^the ${name} +(\\S+)$`, 'm').exec(text)?.[1] ?? '';
    [gateway, provider, upstream] = [at('gateway'), at('provider'), at('upstream')];
  });
}, 180_000);

describe('the zero-trust demo', () => {
  it('sends whoever is signed out to the login, and from there to where they wanted to go', async () => {
    const visitor = new Visitor();
    const first = await visitor.ask(`${gateway}/admin?from=here`);
    expect([first.status, first.headers.get('location')]).toEqual([
      302,
      '/login?to=%2Fadmin%3Ffrom%3Dhere',
    ]);
    const visit = await signIn(visitor, ADA, '/admin?from=here');
    expect([visit.url, visit.status]).toEqual([`${gateway}/admin?from=here`, 200]);
    expect(visit.text).toContain('You are one, Ada Lovelace.');
  });

  it('asks for a code with PKCE, a state and a nonce', async () => {
    const { headers } = await new Visitor().ask(`${gateway}/login`);
    const url = new URL(headers.get('location') ?? '');
    expect(url.origin).toBe(provider);
    expect(Object.fromEntries(url.searchParams)).toEqual({
      client_id: 'gateway',
      response_type: 'code',
      redirect_uri: `${gateway}/callback`,
      scope: 'openid profile groups',
      state: expect.stringMatching(/^.{43}$/),
      nonce: expect.stringMatching(/^.{43}$/),
      code_challenge: expect.stringMatching(/^.{43}$/),
      code_challenge_method: 'S256',
    });
  });

  it('lets nobody in with a wrong password', async () => {
    const visitor = new Visitor();
    const { status, text } = await signIn(visitor, { user: 'ada', password: 'byron' });
    expect([status, text]).toEqual([401, expect.stringContaining('Nobody has this name')]);
    expect((await visitor.ask(`${gateway}/`)).status).toBe(302);
  });

  it('gives everybody the front page, admins what is for them, and nobody anything else', async () => {
    const statuses: Record<string, number[]> = {};
    for (const who of [ADA, GRACE]) {
      const visitor = new Visitor();
      const statusOf = async (path: string) => (await visitor.ask(gateway + path)).status;
      statuses[who.user] = [
        (await signIn(visitor, who)).status,
        await statusOf('/admin'),
        await statusOf('/%61dmin'),
        await statusOf('/other'),
      ];
    }
    // The upstream does not take the second for the first. The gateway need not know.
    expect(statuses).toEqual({ ada: [200, 200, 404, 403], grace: [200, 403, 403, 403] });
  });

  it('answers scripts and WebSockets with 401, and does not lead them to a login', async () => {
    const script = await fetch(`${gateway}/whoami`, { redirect: 'manual' });
    expect([script.status, await script.json()]).toEqual([
      401,
      expect.objectContaining({ code: 'ERR_PROXY_UNAUTHORIZED' }),
    ]);
    const socket = new WebSocket(`${gateway.replace('http', 'ws')}/whoami`);
    const [error] = await once(socket, 'error').catch((failure: unknown) => [failure]);
    expect((error as Error).message).toBe('Unexpected server response: 401');
  });

  it('tells the upstream who it is, and nothing that the client says of itself', async () => {
    const visitor = new Visitor();
    await signIn(visitor, GRACE);
    const { text } = await visitor.ask(`${gateway}/whoami`, undefined, {
      'x-user': 'ada',
      'x-headrace-assertion': 'forged',
      x_user: 'ada',
      cookie: `theme=dark; gateway=${visitor.cookies.get('localhost')?.get('gateway')}; tz=utc`,
    });
    const { user, headers } = JSON.parse(text);
    expect(user).toMatchObject({
      sub: 'grace',
      name: 'Grace Hopper',
      groups: ['staff'],
      iss: gateway,
      aud: upstream,
    });
    expect(headers).toMatchObject({ 'x-user': 'grace', cookie: 'theme=dark; tz=utc' });
    expect(text).not.toContain('ada');
    expect(text).not.toContain('forged');
  });

  it('has an upstream that believes nobody else', async () => {
    const { status } = await new Visitor().ask(`${upstream}/admin`, undefined, {
      'x-user': 'ada',
      'x-headrace-assertion': 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.',
    });
    expect(status).toBe(401);
  });

  it('gives a session a new id with the login, and its cookie to nobody else', async () => {
    const visitor = new Visitor();
    await visitor.ask(`${gateway}/login`);
    const cookies = visitor.cookies.get('localhost');
    const before = cookies?.get('gateway');
    const form = await visitor.go(`${gateway}/login`);
    await visitor.go(form.url, ADA);
    const after = cookies?.get('gateway');
    expect([before, after]).toEqual([expect.any(String), expect.any(String)]);
    expect(after).not.toBe(before);
    cookies?.set('gateway', before ?? '');
    expect((await visitor.ask(`${gateway}/`)).status).toBe(302);

    const { headers } = await new Visitor().ask(`${gateway}/login`);
    expect(headers.get('set-cookie')).toMatch(/^gateway=[^;]+; Path=\/; HttpOnly; SameSite=Lax$/);
  });

  it('takes a session cookie that was tampered with for nobody', async () => {
    const visitor = new Visitor();
    await signIn(visitor, ADA);
    const cookies = visitor.cookies.get('localhost') as Map<string, string>;
    const cookie = cookies.get('gateway') ?? '';
    for (const tampered of [cookie.replace(/.$/, (c) => (c === 'A' ? 'B' : 'A')), 'x', '']) {
      cookies.set('gateway', tampered);
      expect((await visitor.ask(`${gateway}/`)).headers.get('location')).toBe('/login?to=%2F');
    }
    cookies.set('gateway', cookie);
    expect((await visitor.ask(`${gateway}/`)).status).toBe(200);
  });

  it.each([
    'https://elsewhere.example/',
    '//elsewhere.example/',
    '/\\elsewhere.example/',
    '/\t/elsewhere.example/',
    'javascript:alert(1)',
    'http://localhost/',
  ])('refuses a login that would lead to %j', async (to) => {
    const { status } = await new Visitor().ask(`${gateway}/login?to=${encodeURIComponent(to)}`);
    expect(status).toBe(400);
  });

  it('leads to a place of its own, whatever the path looks like', async () => {
    const visitor = new Visitor();
    const { url } = await signIn(visitor, ADA, '/login?to=/.//elsewhere.example/');
    expect(url).toBe(`${gateway}//elsewhere.example/`);
  });

  it('takes back no login but the one that it began, and each once', async () => {
    const visitor = new Visitor();
    const spoilt = await callbackOf(visitor);
    expect((await visitor.ask(spoilt.replace(/state=./, 'state=~'))).status).toBe(400);
    expect((await visitor.ask(spoilt)).status).toBe(400);
    expect((await visitor.ask(`${gateway}/`)).status).toBe(302);

    const callback = await callbackOf(visitor);
    expect((await new Visitor().ask(callback)).status).toBe(400);
    const other = new Visitor();
    await other.ask(`${gateway}/login`);
    expect((await other.ask(callback)).status).toBe(400);
    expect((await other.ask(`${gateway}/`)).status).toBe(302);

    expect((await visitor.ask(callback)).status).toBe(302);
    expect((await visitor.ask(callback)).status).toBe(400);
    expect((await visitor.ask(`${gateway}/`)).status).toBe(200);
  });

  it('ends the session with the logout, here and at the provider', async () => {
    const visitor = new Visitor();
    await signIn(visitor, ADA);
    const cookie = visitor.cookies.get('localhost')?.get('gateway') ?? '';
    const asked = await visitor.go(`${gateway}/logout`, {});
    expect(asked.text).toContain('Log out here, too?');
    const [, action = ''] = /action="([^"]+)"/.exec(asked.text) ?? [];
    const [, xsrf = ''] = /name="xsrf" value="([^"]+)"/.exec(asked.text) ?? [];
    const bye = await visitor.go(action, { xsrf, logout: 'yes' });
    expect([bye.url.split('?')[0], bye.status]).toEqual([`${gateway}/bye`, 200]);

    // Neither a cookie that somebody has kept nor the provider signs them in again.
    visitor.cookies.get('localhost')?.set('gateway', cookie);
    const { url, text } = await visitor.go(`${gateway}/`);
    expect(url).toMatch(`${provider}/interaction/`);
    expect(text).toContain('Who are you?');
  });

  it('says which port is taken', async () => {
    const { port } = await serve(() => {});
    const { child, output } = runDemo('demo:zero-trust', {
      ...FREE,
      ZERO_TRUST_GATEWAY_PORT: String(port),
    });
    const ended = once(child, 'close');
    const text = await output((all) => all.includes('ZERO_TRUST_GATEWAY_PORT'));
    expect(text).toContain(`address already in use 127.0.0.1:${port}`);
    expect(await ended).toEqual([1, null]);
  });
});

const describeInBrowser = chromium === undefined && !process.env.CI ? describe.skip : describe;

describeInBrowser('the zero-trust demo in Chromium (needs apt-get install chromium)', () => {
  let browser: Browser;

  beforeAll(async () => {
    await openForAll(async () => {
      const { chromium: driver } = await import('playwright-core');
      browser = await driver.launch({
        executablePath: chromium as string,
        args: ['--no-sandbox'],
      });
      closeAfter(() => browser.close());
    });
  }, 180_000);

  it('signs an admin in, leads to the page that was asked for, and signs out again', async () => {
    const page = await open();
    await page.goto(`${gateway}/admin`);
    await logIn(page, ADA);
    await page.waitForURL(`${gateway}/admin`);
    expect(await page.textContent('p')).toBe('You are one, Ada Lovelace.');

    await page.goto(gateway);
    expect(await page.textContent('h1')).toBe('Hello, Ada Lovelace');
    await page.click('text=Log out');
    await page.click('text=Yes');
    await page.waitForURL(`${gateway}/bye*`);
    await page.click('text=Sign in');
    await page.waitForURL(`${provider}/interaction/*`);
    // What was seen before is not there to be seen.
    await page.goto(gateway);
    expect(await page.textContent('h1')).toBe('Who are you?');
  });

  it('keeps a member of another group from what is for admins', async () => {
    const page = await open();
    await page.goto(gateway);
    await logIn(page, GRACE);
    await page.waitForURL(`${gateway}/`);
    expect(await page.textContent('h1')).toBe('Hello, Grace Hopper');
    const [response] = await Promise.all([
      page.waitForResponse(`${gateway}/admin`),
      page.click('text=For admins'),
    ]);
    expect(response.status()).toBe(403);
  });

  async function open(): Promise<Page> {
    const context = await browser.newContext();
    closeAfter(() => context.close());
    return context.newPage();
  }

  async function logIn(page: Page, { user, password }: typeof ADA): Promise<void> {
    await page.fill('[name=user]', user);
    await page.fill('[name=password]', password);
    await page.click('text=Log in');
  }
});

// The last one: it ends what all others use.
describe('npm run demo:zero-trust', () => {
  it('ends when it is told to', async () => {
    const ended = once(demo.child, 'close');
    demo.child.kill('SIGTERM');
    await ended;
    await expect(fetch(gateway)).rejects.toThrow();
  });
});

/** Asks for a page, fills in the form that comes instead, and goes on to where that leads. */
async function signIn(visitor: Visitor, who: typeof ADA, path = '/'): Promise<Visit> {
  const { url } = await visitor.go(gateway + path);
  return visitor.go(url, who);
}

/** Logs Ada in, up to where the provider leads back to the gateway. */
async function callbackOf(visitor: Visitor): Promise<string> {
  let visit = await visitor.ask(`${gateway}/login`);
  for (;;) {
    const { location } = Object.fromEntries(visit.headers);
    const to = location && new URL(location, visit.url).href;
    if (to?.startsWith(`${gateway}/callback`)) return to;
    visit = to ? await visitor.ask(to) : await visitor.ask(visit.url, ADA);
  }
}
