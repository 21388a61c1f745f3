import { describe, expect, it } from '@jest/globals';
import { Targets } from '../../src/upstreams/targets.js';

describe('Targets', () => {
  it('gives the same upstream for the same target', () => {
    const targets = new Targets();
    const upstream = targets.get('http://a/base', 'path');
    expect(targets.get('http://a/base', 'path')).toBe(upstream);
    expect(targets.get('http://b/base', 'path')).not.toBe(upstream);
    const fromUrl = targets.get(new URL('http://a/other'), 'path');
    expect(targets.get(new URL('http://a/other'), 'path')).toBe(fromUrl);
  });

  it('keeps a thousand, and closes the oldest for each beyond it', async () => {
    const targets = new Targets();
    const closed: string[] = [];
    for (let i = 0; i < 1_002; i++) {
      const upstream = targets.get(`http://host-${i}`, 'path');
      upstream.connections.set({}, { close: async () => void closed.push(upstream.url) });
    }
    expect(closed).toEqual(['http://host-0', 'http://host-1']);
    await targets.close();
    expect(closed).toHaveLength(1_002);
  });

  it('closes none that was used of late while there is another', () => {
    const targets = new Targets();
    const get = (i: number) => targets.get(`http://host-${i}`, 'path');
    const [first, second, third] = [get(0), get(1), get(2)];
    for (let i = 3; i < 1_000; i++) get(i);
    get(0);
    get(2);
    get(1_000);
    expect([get(0), get(2)]).toEqual([first, third]);
    expect(get(1)).not.toBe(second);
    // Each has been used by now, and one must go all the same.
    for (let i = 0; i < 1_001; i++) get(i);
    expect(get(0)).toBe(first);
  });

  it('closes all, and begins anew', async () => {
    const targets = new Targets();
    const before = targets.get('http://a', 'path');
    await targets.close();
    expect(targets.get('http://a', 'path')).not.toBe(before);
  });

  it.each([[undefined], [null], [5], [{}], [Promise.resolve('http://a')], ['htp://a']])(
    'refuses %p, and says who gave it',
    (target) => {
      expect(() => new Targets().get(target as never, 'proxyPass: target()')).toThrow(
        /^proxyPass: target\(\) must be an http\(s\) URL, received /,
      );
    },
  );
});
