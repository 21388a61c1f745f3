import { describe, expect, it } from '@jest/globals';
import type { LoadWatcher } from '../../../src/upstreams/load-watcher.js';
import { consistentHash } from '../../../src/upstreams/strategies/consistent-hash.js';
import { leastConnections } from '../../../src/upstreams/strategies/least-connections.js';
import { TotalLoad } from '../../../src/upstreams/strategies/total-load.js';
import { Upstream } from '../../../src/upstreams/upstream.js';
import { picks, upstreamsOf } from '../../helpers/upstreams.js';

/** An upstream that says who watches it. */
class Watched extends Upstream {
  readonly watchers = new Set<LoadWatcher>();

  override watch(watcher: LoadWatcher): void {
    this.watchers.add(watcher);
    super.watch(watcher);
  }

  override unwatch(watcher: LoadWatcher): void {
    this.watchers.delete(watcher);
    super.unwatch(watcher);
  }
}

describe('TotalLoad', () => {
  it('has room up to the factor of an upstream’s share, the next request counted', () => {
    const upstreams = upstreamsOf(3, 1);
    const [heavy, light] = upstreams as [Upstream, Upstream];
    const load = new TotalLoad(upstreams);
    heavy.inFlight = 5;
    light.inFlight = 2;
    // 1.5 times a quarter of 8 requests is 3, 1.5 times three quarters 9.
    expect(load.hasRoom(light, 1.5)).toBe(true);
    light.inFlight = 3;
    expect(load.hasRoom(light, 1.3)).toBe(false);
    expect(load.hasRoom(heavy, 1.3)).toBe(true);
  });

  it('stays as it was, and is not told, when it does not follow', () => {
    const upstreams = [new Watched('http://a'), new Watched('http://b')];
    const [one, other] = upstreams as [Watched, Watched];
    one.inFlight = 1;
    const load = new TotalLoad(upstreams, { follows: false });
    expect([one.watchers.size, other.watchers.size]).toEqual([0, 0]);
    one.inFlight = 2;
    other.inFlight = 100;
    expect(load.hasRoom(one, 1.5)).toBe(false);
  });

  it('counts what was in flight before', () => {
    const upstreams = upstreamsOf(1, 1);
    for (const upstream of upstreams) upstream.inFlight = 10;
    expect(new TotalLoad(upstreams).hasRoom(upstreams[0] as Upstream, 1.25)).toBe(true);
  });
});

describe.each([
  ['leastConnections', leastConnections],
  ['consistentHash with a bound', () => consistentHash({ boundedLoad: 1.25 })],
])('%s', (_, make) => {
  it('watches each upstream once, and those that have left no more', () => {
    const strategy = make();
    const all = [1, 2, 3].map((i) => new Watched(`http://${i}.test`));
    for (let change = 0; change < 5; change++) picks(strategy, [...all], 3);
    expect(all.map(({ watchers }) => watchers.size)).toEqual([1, 1, 1]);
    all[0]?.bar('draining');
    picks(strategy, all.slice(1), 1);
    expect(all.map(({ watchers }) => watchers.size)).toEqual([0, 1, 1]);
  });
});
