import { describe, expect, it } from '@jest/globals';
import { ClientFields } from '../../src/exchange/client-fields.js';

const fields = new ClientFields([
  ...['X-User', 'a', 'x-USER', 'b'],
  ...['cOOkie', 'a=1', 'Cookie', 'b=2'],
  ...['Authorization', 'first', 'Authorization', 'second'],
]);

describe('ClientFields', () => {
  it('knows a name as it was first written, and others as they are asked for', () => {
    expect(fields.spelling('x-user')).toBe('X-User');
    expect(fields.spelling('cookie')).toBe('cOOkie');
    expect(fields.spelling('x-other')).toBe('x-other');
  });

  it.each([
    ['x-user', 'a, b'],
    ['cookie', 'a=1; b=2'],
    ['authorization', 'first'],
  ])('knows the live value of %s as the client’s own, joined as Node joins it', (name, live) => {
    expect(fields.sent(name, live)).toBe(true);
  });

  it.each([
    ['x-user', 'b'],
    ['x-user', 'app'],
    ['x-user', undefined],
    ['x-other', 'a'],
    ['x-other', undefined],
  ])('does not take %s: %s for the client’s own', (name, live) => {
    expect(fields.sent(name, live)).toBe(false);
  });
});
