import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { CopiedBody } from '../../src/exchange/copied-body.js';

/** A body that is copied up to so many bytes, where it comes from, and what its copies were. */
function copied(maxBytes: number) {
  const source = new PassThrough({ highWaterMark: 1_000 });
  const copies: (string | undefined)[] = [];
  let left = maxBytes;
  const take = (bytes: number): boolean => {
    left -= bytes;
    return left >= 0;
  };
  const body = new CopiedBody(source, take, (copy) => copies.push(copy?.toString()));
  return { source, body, copies };
}

describe('CopiedBody', () => {
  it('is what comes, and a copy of it', async () => {
    const { source, body, copies } = copied(10);
    source.write('hello ');
    source.end('you!');
    expect((await buffer(body)).toString()).toBe('hello you!');
    expect(copies).toEqual(['hello you!']);
  });

  it('is not copied when it is too long, and then waits for its reader', async () => {
    const { source, body, copies } = copied(50_000);
    body.read(0);
    const chunk = 'x'.repeat(10_000);
    for (let i = 0; i < 20; i++) source.write(chunk);
    for (let i = 0; i < 50; i++) await turn();
    expect(copies).toEqual([undefined]);
    expect(body.readableLength).toBeLessThanOrEqual(80_000);
    source.end();
    expect(await buffer(body)).toHaveLength(200_000);
    expect(copies).toEqual([undefined]);
  });

  it('comes as fast as it can while it is copied, whoever reads it', async () => {
    const { source, body, copies } = copied(1_000_000);
    body.read(0);
    source.end('x'.repeat(500_000));
    for (let i = 0; i < 100 && copies.length === 0; i++) await turn();
    expect(copies.map((copy) => copy?.length)).toEqual([500_000]);
    expect(await buffer(body)).toHaveLength(500_000);
  });

  it.each<[string, (one: ReturnType<typeof copied>) => void]>([
    ['its source fails', ({ source }) => void source.destroy(new Error('lost'))],
    ['its source is closed', ({ source }) => void source.destroy()],
    ['nobody wants it', ({ body }) => void body.destroy()],
  ])('has no copy when %s, and ends', async (_what, end) => {
    for (const isRead of [true, false]) {
      const one = copied(10);
      const errors: unknown[] = [];
      one.body.on('error', (error) => errors.push(error.message));
      if (isRead) one.body.resume();
      one.source.write('half');
      await turn();
      end(one);
      await turn();
      await turn();
      expect(one.copies).toEqual([undefined]);
      expect([one.body.destroyed, one.source.destroyed]).toEqual([true, true]);
    }
  });
});
