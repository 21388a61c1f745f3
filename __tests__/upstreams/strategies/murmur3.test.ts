import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { murmur3 } from '../../../src/upstreams/strategies/murmur3.js';

describe('murmur3', () => {
  // Published vectors: those of Wikipedia's article on MurmurHash, and Ian Boyd's collection.
  it.each([
    ['', 0x00000000, 0x00000000],
    ['', 0x00000001, 0x514e28b7],
    ['', 0xffffffff, 0x81f16f39],
    ['test', 0x00000000, 0xba6bd213],
    ['test', 0x9747b28c, 0x704b81dc],
    ['Hello, world!', 0x00000000, 0xc0363e43],
    ['Hello, world!', 0x9747b28c, 0x24884cba],
    ['The quick brown fox jumps over the lazy dog', 0x00000000, 0x2e4ff723],
    ['The quick brown fox jumps over the lazy dog', 0x9747b28c, 0x2fa826cd],
    ['a', 0x9747b28c, 0x7fa09ea6],
    ['aa', 0x9747b28c, 0x5d211726],
    ['aaa', 0x9747b28c, 0x283e0130],
    ['aaaa', 0x9747b28c, 0x5a97808a],
    ['ππππππππ', 0x9747b28c, 0xd58063c1],
  ])('of %p with seed %p is %p', (text, seed, hash) => {
    expect(murmur3(text, seed) >>> 0).toBe(hash);
  });

  it('agrees with a plain reading of the reference over the bytes of any text', () => {
    const texts = fc.string({ unit: 'binary', maxLength: 40 });
    fc.assert(
      fc.property(texts, fc.integer(), (text, seed) => {
        expect(murmur3(text, seed)).toBe(reference(Buffer.from(text), seed));
      }),
      { numRuns: 1_000 },
    );
  });

  it('takes half of a surrogate pair', () => {
    expect(murmur3('\ud800')).not.toBe(murmur3('\udc00'));
  });
});

/** MurmurHash3_x86_32 as its author wrote it, line by line. */
function reference(data: Buffer, seed: number): number {
  const rotl = (x: number, r: number) => (x << r) | (x >>> (32 - r));
  const blocks = data.length >> 2;
  let h1 = seed;
  for (let i = 0; i < blocks; i++) {
    let k1 = data.readInt32LE(i * 4);
    k1 = Math.imul(k1, 0xcc9e2d51);
    k1 = rotl(k1, 15);
    k1 = Math.imul(k1, 0x1b873593);
    h1 ^= k1;
    h1 = rotl(h1, 13);
    h1 = Math.imul(h1, 5) + 0xe6546b64;
  }
  let k1 = 0;
  for (let i = data.length - 1; i >= blocks * 4; i--) k1 = (k1 << 8) | data.readUInt8(i);
  k1 = Math.imul(rotl(Math.imul(k1, 0xcc9e2d51), 15), 0x1b873593);
  h1 ^= k1 ^ data.length;
  h1 = Math.imul(h1 ^ (h1 >>> 16), 0x85ebca6b);
  h1 = Math.imul(h1 ^ (h1 >>> 13), 0xc2b2ae35);
  return h1 ^ (h1 >>> 16);
}
