import { describe, expect, it } from '@jest/globals';
import { PromptStore } from '../../src/upstreams/prompt-store.js';
import type { RateLimitInfo, RateLimitStore } from '../../src/upstreams/rate-limit.js';
import { testClock } from '../helpers/exchanges.js';
import { eventually } from '../helpers/settled.js';

const INFO: RateLimitInfo = { totalHits: 1, resetTime: undefined };

/** A store that answers when it is told to. */
function slowStore(more: Partial<RateLimitStore> = {}, timeoutMs = 20) {
  const asked: { resolve(): void; reject(error: Error): void }[] = [];
  const store: RateLimitStore = {
    increment: () =>
      new Promise((resolve, reject) => {
        asked.push({ resolve: () => resolve(INFO), reject });
      }),
    decrement: () => {},
    resetKey: () => {},
    ...more,
  };
  const now = testClock();
  const prompt = new PromptStore(store, { timeoutMs, now });
  /** Counts once: what comes of it. */
  const count = () =>
    prompt.increment('key').then(
      () => 'counted',
      ({ code, status, cause }: { code: string; status: number; cause: Error }) =>
        `${status} ${code}: ${cause.message}`,
    );
  return { prompt, asked, now, count };
}

const LATE = '503 ERR_PROXY_RATE_LIMIT_STORE: no answer within 20 ms';

describe('PromptStore', () => {
  it.each([
    [{ totalHits: Number.NaN, resetTime: undefined }],
    [{ totalHits: 1, resetTime: new Date(Number.NaN) }],
    [{ totalHits: 1, resetTime: 60_000 }],
  ])('takes %p for a failure of its store', async (info) => {
    const { count } = slowStore({ increment: async () => info as never });
    expect(await count()).toMatch(/^503 .*must return totalHits and resetTime/);
  });

  it('passes answers and failures on', async () => {
    const { asked, count } = slowStore();
    const results = [count(), count()];
    await eventually('both', () => asked.length === 2);
    asked[0]?.resolve();
    asked[1]?.reject(new Error('READONLY'));
    expect(await Promise.all(results)).toEqual([
      'counted',
      '503 ERR_PROXY_RATE_LIMIT_STORE: READONLY',
    ]);
  });

  it('takes a store that throws for one that fails', async () => {
    const increment = () => {
      throw new Error('no client');
    };
    expect(await slowStore({ increment }).count()).toMatch(/STORE: no client$/);
    expect(await slowStore({ increment, localKeys: true }).count()).toMatch(/STORE: no client$/);
  });

  it('does not wait longer than it may', async () => {
    const { count } = slowStore();
    expect(await count()).toBe(LATE);
  });

  it('asks once in a while for as long as an answer is overdue, and fails at once otherwise', async () => {
    const { asked, now, count, prompt } = slowStore();
    await count();
    expect([await count(), await count(), asked.length]).toEqual([LATE, LATE, 1]);
    await prompt.decrement('key');
    now.advance(20);
    const probe = count();
    expect([await count(), asked.length]).toEqual([LATE, 2]);
    asked[1]?.resolve();
    expect(await probe).toBe('counted');
    const next = count();
    await eventually('another', () => asked.length === 3);
    asked[2]?.resolve();
    expect(await next).toBe('counted');
  });

  it('takes a late answer for a sign that the store is back, and a late failure for none', async () => {
    const { asked, count } = slowStore();
    await Promise.all([count(), count()]);
    asked[0]?.reject(new Error('closed'));
    expect([await count(), asked.length]).toEqual([LATE, 2]);
    asked[1]?.resolve();
    await new Promise(setImmediate);
    const next = count();
    await eventually('a question', () => asked.length === 3);
    asked[2]?.resolve();
    expect(await next).toBe('counted');
  });

  it('does not take back what it cannot, while an answer is overdue', async () => {
    let taken = 0;
    const { count, prompt } = slowStore({ decrement: () => void taken++ });
    await prompt.decrement('key');
    await count();
    await prompt.decrement('key');
    expect(taken).toBe(1);
  });

  it('makes a store ready again that was out of reach at the start', async () => {
    let tries = 0;
    const init = async () => {
      tries += 1;
      if (tries < 3) throw new Error('ECONNREFUSED');
    };
    const { count, prompt, asked } = slowStore({ init }, 5_000);
    await expect(prompt.init({ windowMs: 1_000 })).rejects.toThrow('ECONNREFUSED');
    expect(await count()).toMatch(/STORE: ECONNREFUSED$/);
    const counted = count();
    await eventually('the question', () => asked.length === 1);
    asked[0]?.resolve();
    expect([await counted, tries]).toEqual(['counted', 3]);
  });

  it('says so where a store does not tell what it counts', async () => {
    await expect(slowStore().prompt.get('key')).rejects.toThrow('does not tell what it counts');
  });
});
