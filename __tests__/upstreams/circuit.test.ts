import { describe, expect, it, jest } from '@jest/globals';
import fc from 'fast-check';
import CircuitBreaker from 'opossum';
import { Circuit, type CircuitSettings, REFUSED } from '../../src/upstreams/circuit.js';
import { testClock } from '../helpers/exchanges.js';

/** A circuit with a clock of its own, and every state it has had. */
function aCircuit(options: Partial<CircuitSettings> = {}) {
  const clock = testClock();
  const settings = Object.freeze({
    errorThresholdPercentage: 50,
    volumeThreshold: 4,
    windowMs: 10_000,
    resetTimeoutMs: 5_000,
    now: clock,
    ...options,
  });
  const states: string[] = [];
  const probing: boolean[] = [];
  const circuit = new Circuit('key', settings, {
    changed: ({ state }, previous) => states.push(`${previous} → ${state}`),
    probing: ({ awaitsProbe }) => probing.push(awaitsProbe),
  });
  /** Calls that end one after the other: `+` well, `-` badly, `o` without a verdict. */
  const calls = (verdicts: string) => {
    for (const verdict of verdicts) {
      const turn = circuit.admit();
      if (turn !== REFUSED) circuit.settle(turn, verdict === 'o' ? undefined : verdict === '+');
    }
    return circuit.state;
  };
  /** One that has just opened. */
  const opened = () => {
    calls('----');
    return circuit;
  };
  /** One that has just become half-open. */
  const halfOpen = () => {
    opened();
    clock.advance(5_000);
    circuit.halfOpen();
    return circuit;
  };
  return { circuit, clock, states, probing, calls, opened, halfOpen };
}

/** The breakers of opossum that are fired while `run` runs. */
function breakersDuring(run: () => void): Set<CircuitBreaker> {
  const breakers = new Set<CircuitBreaker>();
  const fire = jest.spyOn(CircuitBreaker.prototype, 'fire');
  try {
    run();
    for (const breaker of fire.mock.contexts) breakers.add(breaker as CircuitBreaker);
  } finally {
    fire.mockRestore();
  }
  return breakers;
}

describe('a closed circuit', () => {
  it.each([
    ['----', 'open'],
    ['---', 'closed'],
    ['++--', 'closed'],
    ['++---', 'open'],
    ['+---', 'open'],
    ['++++', 'closed'],
    ['ooo---', 'closed'],
    ['oooo----', 'open'],
  ])('is, after the calls %s, %s', (verdicts, state) => {
    expect(aCircuit().calls(verdicts)).toBe(state);
  });

  it('goes by the percentage it is given', () => {
    expect(aCircuit({ errorThresholdPercentage: 74 }).calls('+---')).toBe('open');
    expect(aCircuit({ errorThresholdPercentage: 75 }).calls('+---')).toBe('closed');
    expect(aCircuit({ errorThresholdPercentage: 0 }).calls('+++-')).toBe('open');
    expect(aCircuit({ errorThresholdPercentage: 100 }).calls('-'.repeat(100))).toBe('closed');
  });

  it('opens at the first failure where one call is enough', () => {
    expect(aCircuit({ volumeThreshold: 1 }).calls('-')).toBe('open');
  });

  it('forgets calls when the window has gone by', () => {
    const { calls, clock } = aCircuit();
    calls('---');
    clock.advance(9_999);
    expect(calls('-')).toBe('open');

    const late = aCircuit();
    late.calls('---');
    late.clock.advance(10_000);
    expect(late.calls('---')).toBe('closed');
    expect(late.calls('-')).toBe('open');
  });

  it('forgets them step by step', () => {
    const { calls, clock } = aCircuit({ volumeThreshold: 6 });
    for (let i = 0; i < 12; i++) {
      calls('-');
      clock.advance(2_000);
    }
    expect(calls('-')).toBe('closed');
  });

  it('forgets everything over a pause of any length, and when the clock is set back', () => {
    const { calls, clock } = aCircuit();
    calls('---');
    clock.advance(1e9);
    expect(calls('---')).toBe('closed');
    clock.advance(-1e9);
    expect(calls('-')).toBe('open');
  });

  it('counts what a thousand calls at once come to, and takes none of them for too many', () => {
    const { circuit } = aCircuit({ volumeThreshold: 1_000 });
    const turns = Array.from({ length: 1_000 }, () => circuit.admit());
    expect(turns).not.toContain(REFUSED);
    for (const turn of turns.slice(1)) circuit.settle(turn, false);
    expect(circuit.state).toBe('closed');
    circuit.settle(turns[0] as number, false);
    expect(circuit.state).toBe('open');
  });

  it('has opened at the moment of the failure that opens it, not a turn later', () => {
    const { circuit, calls } = aCircuit();
    calls('---');
    const turn = circuit.admit();
    circuit.settle(turn, false);
    expect([circuit.state, circuit.admit()]).toEqual(['open', REFUSED]);
  });
});

describe('an open circuit', () => {
  it('lets nothing pass until its time is over', () => {
    const { circuit, clock, opened } = aCircuit();
    opened();
    expect([circuit.admit(), circuit.waitMs]).toEqual([REFUSED, 5_000]);
    clock.advance(4_999);
    expect([circuit.admit(), circuit.waitMs]).toEqual([REFUSED, 1]);
    clock.advance(1);
    expect([circuit.admit() !== REFUSED, circuit.state]).toEqual([true, 'half-open']);
  });

  it('knows since when it is open; calls that end later do not move that', () => {
    const { circuit, clock, states } = aCircuit();
    const turns = Array.from({ length: 200 }, () => circuit.admit());
    for (const turn of turns) {
      clock.advance(1);
      circuit.settle(turn, false);
    }
    expect(circuit).toMatchObject({ state: 'open', since: 1_004, openedAt: 1_004 });
    expect(states).toEqual(['closed → open']);
  });
});

describe('a half-open circuit', () => {
  it('lets exactly one probe pass', () => {
    const { circuit, halfOpen } = aCircuit();
    halfOpen();
    const turns = Array.from({ length: 200 }, () => circuit.admit());
    expect(turns.filter((turn) => turn !== REFUSED)).toHaveLength(1);
  });

  it('closes with the success of its probe', () => {
    const { circuit, halfOpen, calls, states } = aCircuit();
    halfOpen();
    expect(calls('+')).toBe('closed');
    expect(circuit.openedAt).toBeUndefined();
    expect(states).toEqual(['closed → open', 'open → half-open', 'half-open → closed']);
  });

  it('opens again with its failure, for as long as before', () => {
    const { circuit, clock, halfOpen, calls } = aCircuit();
    halfOpen();
    clock.advance(300);
    expect(calls('-')).toBe('open');
    expect(circuit).toMatchObject({ since: 6_300, openedAt: 1_000, waitMs: 5_000 });
    clock.advance(5_000);
    expect(calls('+')).toBe('closed');
  });

  it('begins a window of its own: what came before the opening does not count once it is closed', () => {
    const { halfOpen, calls } = aCircuit({ windowMs: 1_000_000 });
    halfOpen();
    expect(calls('+')).toBe('closed');
    expect(calls('-+')).toBe('closed');
    expect(calls('---')).toBe('open');
  });

  it('gives the place of a probe without a verdict to the next one, and heeds it no more', () => {
    const { circuit, halfOpen, probing } = aCircuit();
    halfOpen();
    const first = circuit.admit();
    circuit.settle(first, undefined);
    const second = circuit.admit();
    expect([second === REFUSED, circuit.admit()]).toEqual([false, REFUSED]);
    circuit.settle(first, undefined);
    circuit.settle(first, true);
    circuit.settle(first, false);
    expect([circuit.state, circuit.admit()]).toEqual(['half-open', REFUSED]);
    circuit.settle(second, true);
    expect(circuit.state).toBe('closed');
    expect(probing).toEqual([false, true, false]);
  });

  it('gives the place of a probe that says nothing for as long as it was open to another', () => {
    const { circuit, clock, halfOpen, probing } = aCircuit();
    halfOpen();
    circuit.admit();
    clock.advance(4_999);
    expect([circuit.admit(), circuit.dueMs]).toEqual([REFUSED, 1]);
    clock.advance(1);
    circuit.letProbePass();
    expect([circuit.awaitsProbe, circuit.dueMs]).toEqual([true, 0]);
    expect([circuit.admit() !== REFUSED, circuit.admit(), circuit.dueMs]).toEqual([
      true,
      REFUSED,
      5_000,
    ]);
    clock.advance(5_000);
    expect([circuit.admit() !== REFUSED, circuit.admit()]).toEqual([true, REFUSED]);
    expect(probing).toEqual([false, true, false, true, false]);
  });

  it.each([
    [true, 'closed'],
    [false, 'open'],
  ])('heeds the late verdict of such a probe: %s', (verdict, state) => {
    const { circuit, clock, halfOpen } = aCircuit();
    halfOpen();
    const late = circuit.admit();
    clock.advance(5_000);
    const other = circuit.admit();
    circuit.settle(late, verdict);
    expect(circuit.state).toBe(state);
    // The word of the other one is about a state that is over.
    circuit.settle(other, !verdict);
    expect(circuit.state).toBe(state);
  });

  it('keeps the place of a probe, and heeds it, when an earlier one ends without a verdict', () => {
    const { circuit, clock, halfOpen, probing } = aCircuit();
    halfOpen();
    const late = circuit.admit();
    clock.advance(5_000);
    const other = circuit.admit();
    probing.length = 0;
    circuit.settle(late, undefined);
    circuit.settle(late, false);
    expect([circuit.admit(), circuit.state, probing]).toEqual([REFUSED, 'half-open', []]);
    circuit.settle(other, true);
    expect(circuit.state).toBe('closed');
  });

  it.each([true, false])('is not moved by a call that began before it opened: %s', (verdict) => {
    const { circuit, opened, clock, states } = aCircuit();
    const old = circuit.admit();
    opened();
    circuit.settle(old, verdict);
    clock.advance(5_000);
    circuit.halfOpen();
    circuit.settle(old, verdict);
    const probe = circuit.admit();
    circuit.settle(old, verdict);
    expect(circuit.state).toBe('half-open');
    circuit.settle(probe, true);
    for (let i = 0; i < 10; i++) circuit.settle(old, verdict);
    expect(states).toEqual(['closed → open', 'open → half-open', 'half-open → closed']);
  });
});

describe('whatever happens', () => {
  it('there is never more than one probe in that time, and nothing passes while it runs', () => {
    const step = fc.oneof(
      fc.record({ type: fc.constant('begin' as const) }),
      fc.record({
        type: fc.constant('end' as const),
        which: fc.nat(),
        good: fc.constantFrom(true, false, undefined),
      }),
      fc.record({ type: fc.constant('wait' as const), ms: fc.nat(6_000) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const { circuit, clock } = aCircuit();
        const underWay: { turn: number; probe: boolean; since: number }[] = [];
        for (const one of steps) {
          if (one.type === 'wait') {
            clock.advance(one.ms);
          } else if (one.type === 'end') {
            const [call] = underWay.splice(one.which % Math.max(1, underWay.length), 1);
            if (call !== undefined) circuit.settle(call.turn, one.good);
          } else {
            const mayPass = circuit.state === 'closed' || circuit.waitMs === 0;
            const turn = circuit.admit();
            if (turn === REFUSED) continue;
            expect(mayPass).toBe(true);
            const probe = circuit.state === 'half-open';
            const since = clock();
            const early = underWay.filter((call) => call.probe && since < call.since + 5_000);
            if (probe) expect(early).toEqual([]);
            underWay.push({ turn, probe, since });
          }
          // A probe counts as such until it has ended, or its time is over.
          expect(circuit.openedAt === undefined).toBe(circuit.state === 'closed');
        }
      }),
    );
  });
});

describe('what bites in opossum', () => {
  it('is kept off: timeouts, limits and filters of its own, percentiles, snapshots, its clock', () => {
    const { calls } = aCircuit();
    const [breaker] = breakersDuring(() => calls('+-'));
    const { options } = breaker as unknown as { options: CircuitBreaker.Options };
    expect(options).toMatchObject({
      timeout: false,
      capacity: Number.MAX_SAFE_INTEGER,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
    });
    expect(options.errorFilter?.(new Error())).toBe(false);
    expect(breaker?.listenerCount('halfOpen')).toBe(0);
  });

  it('is that it writes into its options: each circuit gives it an object of its own', () => {
    const one = aCircuit();
    const other = aCircuit();
    const breakers = breakersDuring(() => {
      one.calls('-');
      other.calls('-');
    });
    const [first, second] = [...breakers].map((breaker) => {
      return (breaker as unknown as { options: object }).options;
    });
    expect(first).toEqual(expect.anything());
    expect(first).not.toBe(second);
  });

  it('is that it keeps a number for each call, percentiles or not', () => {
    const { calls, clock } = aCircuit();
    const breakers = breakersDuring(() => {
      for (let i = 0; i < 30; i++) {
        calls('+++-');
        clock.advance(500);
      }
    });
    const kept = [...breakers].flatMap(({ status }) => status.window);
    expect(kept).toHaveLength(10);
    expect(kept.flatMap(({ latencyTimes }) => latencyTimes)).toEqual([]);
    expect(kept.reduce((sum, { fires }) => sum + fires, 0)).toBeGreaterThan(60);
  });

  it('is that it goes on after it has been left: the one of an opened circuit is shut down', () => {
    const { opened } = aCircuit();
    const [breaker] = breakersDuring(opened);
    expect(breaker?.isShutdown).toBe(true);
  });

  it('is that rejections of its promises go unheard', async () => {
    // Jest fails a test that leaves a rejection unhandled.
    expect(aCircuit().calls('--------')).toBe('open');
    await new Promise(setImmediate);
  });
});
