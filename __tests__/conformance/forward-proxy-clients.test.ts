import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from '@jest/globals';
import express, { type Express } from 'express';
import { attach, forwardProxy, proxyErrors } from 'headrace';
import { ProxyAgent, request } from 'undici';
import { chromium } from '../helpers/browser.js';
import { type Authority, authority } from '../helpers/certificates.js';
import { names } from '../helpers/names.js';
import { closeAfter, listen, openForAll } from '../helpers/servers.js';

const CREDENTIALS = 'ada:sesame';

/** A name that only the proxy can resolve, and two sites under it: what arrives there came through it. */
const SITE = 'site.example';

let ca: Authority;
let site: { readonly http: string; readonly https: string };
let seen: IncomingMessage[];

beforeAll(async () => {
  await openForAll(async () => {
    ca = await authority();
    const answer: RequestListener = (req, res) => {
      seen.push(req);
      res.setHeader('Content-Type', 'text/html');
      res.end(`<title>${req.url}</title>`);
    };
    const plain = await listen(createServer(answer));
    const secure = await listen(createTlsServer(await ca.issue(SITE), answer));
    site = { http: `http://${SITE}:${plain}`, https: `https://${SITE}:${secure}` };
  });
});

/** An app that is a forward proxy for those who know the credentials. */
function proxyApp(): Express {
  seen = [];
  const app = express();
  app.use((req, res, next) => {
    const given = `Basic ${Buffer.from(CREDENTIALS).toString('base64')}`;
    if (req.headers['proxy-authorization'] === given) return next();
    res.set('Proxy-Authenticate', 'Basic realm="proxy"').sendStatus(407);
  });
  const { lookup } = names({ [SITE]: '127.0.0.1' });
  const proxy = forwardProxy({ allow: '127.0.0.0/8', deny: '127.0.0.2', lookup });
  closeAfter(() => proxy.close());
  app.use(proxy, proxyErrors());
  return app;
}

/** The port that a proxy listens on until the test is over. */
async function proxyPort(): Promise<number> {
  const app = proxyApp();
  const server = createServer(app);
  const port = await listen(server);
  const attached = attach(server, app);
  closeAfter(() => attached.close());
  return port;
}

const curlIt = promisify(execFile);

/** What curl prints, with the status of the answer as its last line. */
async function curl(...args: string[]): Promise<string> {
  const path = await fileWith(ca.cert);
  const usual = ['-sS', '--noproxy', '', '--max-time', '10', '--cacert', path];
  const out = ['-w', '\n%{http_code}'];
  const { stdout } = await curlIt('curl', [...usual, ...out, ...args]).catch((error) => error);
  return stdout;
}

async function fileWith(text: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'headrace-'));
  closeAfter(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'file'), text);
  return join(folder, 'file');
}

describe('curl', () => {
  it('gets a page over HTTP', async () => {
    const x = `http://${CREDENTIALS}@127.0.0.1:${await proxyPort()}`;
    expect(await curl('-x', x, `${site.http}/a?b=c`)).toBe('<title>/a?b=c</title>\n200');
    expect(seen[0]?.headers).toMatchObject({ host: site.http.slice(7), via: '1.1 headrace' });
    expect(seen[0]?.headers).not.toHaveProperty('proxy-authorization');
    expect(seen[0]?.headers).not.toHaveProperty('proxy-connection');
    expect(seen[0]?.headers).not.toHaveProperty('x-forwarded-for');
  });

  it('gets a page over HTTPS, through a tunnel', async () => {
    const x = `http://127.0.0.1:${await proxyPort()}`;
    const printed = await curl('-x', x, '-U', CREDENTIALS, `${site.https}/a`);
    expect(printed).toBe('<title>/a</title>\n200');
    expect(seen[0]?.headers).not.toHaveProperty('proxy-authorization');
    expect(seen[0]?.headers).not.toHaveProperty('via');
  });

  it('tunnels plain HTTP, too, when it is told to', async () => {
    const x = `http://${CREDENTIALS}@127.0.0.1:${await proxyPort()}`;
    expect(await curl('-p', '-x', x, `${site.http}/a`)).toBe('<title>/a</title>\n200');
  });

  it('finds out by the 407 that it has to say who it is', async () => {
    const x = `http://127.0.0.1:${await proxyPort()}`;
    const any = ['-x', x, '-U', CREDENTIALS, '--proxy-anyauth'];
    expect(await curl(...any, `${site.http}/`)).toBe('<title>/</title>\n200');
    expect(await curl(...any, `${site.https}/`)).toBe('<title>/</title>\n200');
  });

  it('is refused without credentials, and for what is not allowed', async () => {
    const x = `http://127.0.0.1:${await proxyPort()}`;
    const connected = ['-w', '\n%{http_connect}'];
    expect(await curl('-x', x, `${site.http}/`)).toMatch(/\n407$/);
    expect(await curl('-x', x, ...connected, `${site.https}/`)).toMatch(/\n407$/);
    const known = ['-x', x, '-U', CREDENTIALS];
    expect(await curl(...known, 'http://127.0.0.2/')).toMatch(/\n403$/);
    expect(await curl(...known, ...connected, 'https://127.0.0.2/')).toMatch(/\n403$/);
    expect(await curl(...known, ...connected, 'https://lost.example/')).toMatch(/\n502$/);
    expect(seen).toEqual([]);
  });

  it('speaks TLS to the proxy', async () => {
    const app = proxyApp();
    const server = createTlsServer(await ca.issue('127.0.0.1'), app);
    const x = `https://${CREDENTIALS}@127.0.0.1:${await listen(server)}`;
    const attached = attach(server, app);
    closeAfter(() => attached.close());
    expect(await curl('--proxy-insecure', '-x', x, `${site.http}/a`)).toMatch(/\n200$/);
    expect(await curl('--proxy-insecure', '-x', x, `${site.https}/b`)).toMatch(/\n200$/);
    expect(seen.map(({ url }) => url)).toEqual(['/a', '/b']);
  });
});

it.each([true, false])('undici gets both kinds of pages, proxyTunnel %s', async (proxyTunnel) => {
  const agent = new ProxyAgent({
    uri: `http://127.0.0.1:${await proxyPort()}`,
    token: `Basic ${Buffer.from(CREDENTIALS).toString('base64')}`,
    requestTls: { ca: ca.cert },
    proxyTunnel,
  });
  closeAfter(() => agent.close());
  for (const url of [site.http, site.https]) {
    const { statusCode, body } = await request(`${url}/a`, { dispatcher: agent });
    expect([statusCode, await body.text()]).toEqual([200, '<title>/a</title>']);
  }
});

it('npm asks its registry', async () => {
  const x = `http://${CREDENTIALS}@127.0.0.1:${await proxyPort()}`;
  const args = ['ping', '--json', '--registry', `${site.http}/`, '--proxy', x];
  const config = ['--userconfig', await fileWith(''), '--cache', join(tmpdir(), 'headrace-npm')];
  const env = { PATH: process.env.PATH ?? '', HOME: tmpdir(), NO_PROXY: '' };
  const { stdout } = await curlIt('npm', [...args, ...config, '--no-update-notifier'], { env });
  expect(JSON.parse(stdout)).toMatchObject({ registry: `${site.http}/` });
  expect(seen.map(({ url }) => url)).toContain('/-/ping');
}, 60_000);

// Where Chromium is missing this is reported as skipped; CI has to have it.
const withChromium = chromium === undefined && !process.env.CI ? it.skip : it;

withChromium(
  'Chromium shows both kinds of pages (needs apt-get install chromium)',
  async () => {
    const { chromium: driver } = await import('playwright-core');
    const browser = await driver.launch({
      executablePath: chromium as string,
      args: ['--no-sandbox', '--disable-quic'],
      proxy: {
        server: `http://127.0.0.1:${await proxyPort()}`,
        username: 'ada',
        password: 'sesame',
      },
    });
    closeAfter(() => browser.close());
    const page = await browser.newPage({ ignoreHTTPSErrors: true });
    for (const url of [site.http, site.https]) {
      await page.goto(`${url}/page`);
      expect(await page.title()).toBe('/page');
    }
    await page.goto('http://127.0.0.2/').catch(() => undefined);
    expect(seen.every(({ headers }) => headers['proxy-authorization'] === undefined)).toBe(true);
  },
  60_000,
);
