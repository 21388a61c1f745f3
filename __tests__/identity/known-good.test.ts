import { describe, expect, it } from '@jest/globals';
import { frozen, KnownGood } from '../../src/identity/known-good.js';

const of = (subject: string) => ({ subject, claims: {}, scheme: 'test' });

describe('what is known to be good', () => {
  it('makes room by forgetting what was not used for longest', () => {
    const known = new KnownGood(2);
    known.set('a', of('a'), 10);
    known.set('b', of('b'), 10);
    known.get('a', 0);
    known.set('c', of('c'), 10);
    expect(['a', 'b', 'c'].map((key) => known.get(key, 0)?.subject)).toEqual(['a', undefined, 'c']);
    // What is set again takes no room of another's.
    known.set('c', of('d'), 10);
    expect(['a', 'c'].map((key) => known.get(key, 0)?.subject)).toEqual(['a', 'd']);
  });

  it('is kept under names that differ from process to process', () => {
    const [one, other] = [new KnownGood(1), new KnownGood(1)];
    expect(one.keyOf('token')).toBe(one.keyOf('token'));
    expect(one.keyOf('token')).not.toBe(other.keyOf('token'));
    expect(one.keyOf('token')).not.toContain('token');
  });

  it('is nothing where nothing is to be kept', () => {
    const known = new KnownGood(0);
    known.set('a', of('a'), 10);
    expect(known.get('a', 0)).toBeUndefined();
  });

  it('cannot be changed by whoever shares it', () => {
    const identity = frozen({ claims: { roles: ['reader'], realm: { name: 'a' } } });
    expect(() => identity.claims.roles.push('admin')).toThrow(TypeError);
    expect(() => Object.assign(identity.claims.realm, { name: 'b' })).toThrow(TypeError);
    expect(() => Object.assign(identity, { claims: {} })).toThrow(TypeError);
  });
});
