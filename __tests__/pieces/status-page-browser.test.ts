import { mkdirSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from '@jest/globals';
import express from 'express';
import {
  circuitBreaker,
  loadBalancer,
  proxyErrors,
  proxyPass,
  type StatusPageOptions,
  statusPage,
  type Upstream,
  UpstreamPool,
} from 'headrace';
import type { Browser, Page } from 'playwright-core';
import { chromium } from '../helpers/browser.js';
import { closeAfter, openForAll, serve } from '../helpers/servers.js';

const describeInBrowser = chromium === undefined && !process.env.CI ? describe.skip : describe;

/** Screenshots, for whoever wants to see what the tests have seen. */
const pictures = join(__dirname, '../../.cache/screenshots');

let browser: Browser;

describeInBrowser('the status page in Chromium (needs apt-get install chromium)', () => {
  beforeAll(async () => {
    mkdirSync(pictures, { recursive: true });
    await openForAll(async () => {
      const { chromium: driver } = await import('playwright-core');
      browser = await driver.launch({
        executablePath: chromium as string,
        args: ['--no-sandbox'],
      });
      closeAfter(() => browser.close());
    });
  }, 180_000);

  it('turns a failing upstream red within two seconds, says so, and draws on', async () => {
    let broken = false;
    const backend = await serve((_req, res) => void res.writeHead(broken ? 500 : 200).end('hello'));
    const pool = new UpstreamPool([backend.url]);
    const balance = loadBalancer({ upstreams: pool });
    const breaker = circuitBreaker({ volumeThreshold: 1_000 });
    const front = await serve(express().use(balance, breaker, proxyPass(), proxyErrors()));
    closeAfter(() => pool.close());
    loadOn(front.url);
    const { page } = await open({ pools: { api: pool }, title: 'A gateway' });
    // The first snapshot brings it.
    // `waitForFunction()` would have the page evaluate text, which its policy forbids.
    while ((await page.title()) !== 'A gateway') await delay(20);

    const row = page.locator('tbody tr');
    await row.and(page.locator('[data-level=good]')).waitFor();
    expect(await row.locator('.circuit').textContent()).toMatch(/^closed since \d/);
    const chart = page.locator('figure path').first();
    const drawn = await chart.getAttribute('d');

    broken = true;
    const since = performance.now();
    await row.and(page.locator('[data-level=bad]')).waitFor();
    // And one more, for a machine that is busy with other tests.
    expect(performance.now() - since).toBeLessThan(3_000);
    expect(await row.locator('.state').textContent()).toMatch(/^failing since /);
    expect(await row.locator('.state').evaluate(redness)).toBeGreaterThan(1.5);
    expect(await page.locator('#said').textContent()).toBe(`${backend.url} is failing`);
    expect(await chart.getAttribute('d')).not.toBe(drawn);
    await page.screenshot({ path: join(pictures, 'status-failing.png') });
  });

  it('takes names that try to be HTML for what they are, under a policy that nothing violates', async () => {
    const evil = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>';
    const pool = new UpstreamPool([`unix:/tmp/${evil.replaceAll('?', '')}`, 'http://a/<b>']);
    const { page, complaints } = await open({ pools: { [evil]: pool }, title: evil });
    await page.locator('tbody tr').first().waitFor();
    expect(await page.title()).toBe(evil);
    expect(await page.locator('h1').textContent()).toBe(evil);
    expect(await page.locator('h2').textContent()).toBe(evil);
    expect(await page.locator('tbody th').first().textContent()).toBe(pool.upstreams[0]?.url);
    await page.locator('#theme').click();
    await page.locator('#filter').fill('unix');
    expect(await page.evaluate("'hacked' in window || document.images.length > 0")).toBe(false);
    expect(complaints).toEqual([]);
  });

  it('shows a thousand upstreams, filters them by keyboard, and follows the list', async () => {
    const urls = Array.from({ length: 1_000 }, (_, i) => `http://upstream-${i}.example`);
    const pool = new UpstreamPool(urls, { health: { passive: false } });
    const { page, complaints } = await open({ pools: { many: pool }, allowActions: true });
    const shown = page.locator('tbody tr:not([hidden])');
    await page.locator('tbody tr').last().waitFor();
    expect(await shown.count()).toBe(1_000);

    await page.keyboard.press('/');
    await page.keyboard.type('-99');
    expect(await shown.count()).toBe(11);
    await page.keyboard.press('Escape');
    (pool.upstreams[500] as Upstream).bar('unhealthy');
    await page.locator('#troubled').check();
    await page.locator('tr[data-level=bad]').waitFor();
    expect(await shown.locator('th').allTextContents()).toEqual([urls[500]]);
    const [leaving] = pool.upstreams as [Upstream];
    leaving.inFlight += 1;
    pool.update([...urls.slice(500, 502), 'http://new.example']);
    await page.locator('#troubled').uncheck();
    await page.locator('tbody th', { hasText: 'new.example' }).waitFor();
    expect(await shown.locator('th').allTextContents()).toEqual([
      urls[500],
      urls[501],
      'http://new.example',
      urls[0],
    ]);
    const last = page.locator('tbody tr').last();
    expect(await last.locator('.state').textContent()).toMatch(/^draining since \d/);
    expect(await last.locator('button:disabled').count()).toBe(3);
    expect(await page.locator('.sum dd').first().textContent()).toBe('2 of 3, 1 draining');
    leaving.release();
    await last.locator('th', { hasText: 'new.example' }).waitFor();
    expect(complaints).toEqual([]);
  });

  it('drains and resumes by keyboard where that is allowed, and fits a phone, in the dark', async () => {
    const pool = new UpstreamPool(['http://a', 'http://b']);
    const { page, complaints } = await open({ pools: { api: pool }, allowActions: true });
    const row = page.locator('tbody tr').first();
    await row.locator('[data-action=drain]').focus();
    await page.keyboard.press('Enter');
    await row.and(page.locator('[data-level=off]')).waitFor();
    expect(pool.eligible.map(String)).toEqual(['http://b']);
    expect(await row.locator('[data-action=drain]').isDisabled()).toBe(true);
    expect(await page.evaluate('document.activeElement.dataset.action')).toBe('resume');

    await page.setViewportSize({ width: 360, height: 740 });
    await page.emulateMedia({ colorScheme: 'dark' });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe(
      'rgb(20, 23, 26)',
    );
    await page.screenshot({ path: join(pictures, 'status-phone.png') });
    await page.keyboard.press('Enter');
    await row.and(page.locator('[data-level=good]')).waitFor();
    expect(pool.eligible).toHaveLength(2);
    expect(complaints).toEqual([]);
  });

  it('says when the gateway no longer answers, and goes on when it is back', async () => {
    const pool = new UpstreamPool(['http://a']);
    const { page, server } = await open({ pools: { api: pool } });
    await page.locator('body[data-live=yes]').waitFor();
    server.closeAllConnections();
    await page.locator('body[data-live=no]').waitFor();
    await page.locator('body[data-live=yes]').waitFor();
    expect(await page.locator('tbody tr').count()).toBe(1);
  });
});

/** A page that is closed after the test, and what the browser has to complain of. */
async function open(options: StatusPageOptions) {
  const status = statusPage(options);
  const { server, url } = await serve(express().use('/status', status));
  closeAfter(() => status.close());
  const page: Page = await browser.newPage();
  closeAfter(() => page.close());
  const complaints: string[] = [];
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(`${url}/status`);
  return { page, server, complaints };
}

/** Asks all the time, one request after the other. */
function loadOn(url: string): void {
  let over = false;
  const ask = (): void => {
    if (over) return;
    get(url, (res) => {
      res.on('end', () => setTimeout(ask, 10)).resume();
    }).on('error', () => {});
  };
  ask();
  closeAfter(() => {
    over = true;
  });
}

/** How much more red there is in an element's colour than anything else; for the browser to work out. */
const redness = new Function(
  'element',
  `const [red, green, blue] = getComputedStyle(element).color.match(/\\d+/g).map(Number);
   return red / Math.max(green, blue, 1);`,
) as (element: unknown) => number;
