import { describe, expect, it } from '@jest/globals';
import type { GateSettings } from '../../src/upstreams/gate.js';
import { KeyedGates, oneGate, UpstreamGates } from '../../src/upstreams/gates.js';
import { anExchange } from '../helpers/exchanges.js';
import { upstreamsOf } from '../helpers/upstreams.js';

const settings = (): GateSettings => ({
  limit: 1,
  size: 1,
  timeoutMs: 1_000,
  now: () => 0,
  total: { inFlight: 0, waiting: 0 },
});

describe('KeyedGates', () => {
  it('has one gate for each key, and forgets a key once nobody is inside', () => {
    const gates = new KeyedGates(settings(), (req) => String(req.headers.user), 'per()');
    const [ann, ben] = [anExchange({ user: 'ann' }), anExchange({ user: 'ben' })];
    for (const exchange of [ann, ben]) expect(gates.of(exchange).enter()).toBe(true);
    expect(gates.of(ann)).toBe(gates.of(anExchange({ user: 'ann' })));
    expect([gates.size, gates.of(ann).enter()]).toEqual([2, false]);
    gates.of(ann).leave();
    expect([gates.size, gates.of(ben).inFlight]).toEqual([1, 1]);
    gates.of(ben).leave();
    expect(gates.size).toBe(0);
  });
});

describe('UpstreamGates', () => {
  it('has one gate for each upstream, by what it is and not by its URL', () => {
    const gates = new UpstreamGates(settings());
    const exchange = anExchange();
    const gatesOf = [...upstreamsOf(1, 1), ...upstreamsOf(1)].map((upstream) => {
      exchange.upstream = upstream;
      return gates.of(exchange);
    });
    expect(new Set(gatesOf).size).toBe(3);
    expect(gates.of(exchange)).toBe(gatesOf[2]);
  });

  it('has none where there is no upstream, and nothing elsewhere where there is no pool', () => {
    const gates = new UpstreamGates(settings());
    expect([gates.of(anExchange()), gates.elsewhere(anExchange())]).toEqual([undefined, undefined]);
  });
});

describe('oneGate', () => {
  it('is the same for all', () => {
    const gates = oneGate(settings());
    expect(gates.of(anExchange())).toBe(gates.of(anExchange()));
  });
});
