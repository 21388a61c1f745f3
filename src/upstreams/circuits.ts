import { MAX_TIMER_MS } from '../options.js';
import { callListener } from '../warnings.js';
import type { CircuitCounts } from './breaker-metrics.js';
import {
  Circuit,
  type CircuitChange,
  type CircuitObserver,
  type CircuitSettings,
  type CircuitState,
} from './circuit.js';
import type { Upstream } from './upstream.js';
import { WeakList } from './weak-list.js';

/** Circuits of keys that are kept: clients may be able to choose the key. */
const MAX_KEYS = 1_000;
/** How far from the oldest one is looked for a key to forget that is not open. */
const MAX_LOOKED_AT = 16;

/** Is told of every change of a circuit's state. */
export type CircuitListener = (change: CircuitChange) => void;

/**
 * The circuits of one breaker, made when they are first asked for. Those of upstreams go with the
 * upstream. One timer serves all of them, and runs only while one is open or probed.
 */
export class Circuits implements CircuitObserver {
  readonly #settings: CircuitSettings;
  readonly #listener: CircuitListener | undefined;
  readonly #ofUpstreams = new WeakMap<Upstream, Circuit>();
  /** The same, to be counted. */
  readonly #listed = new WeakList<Circuit>();
  /** The one that was used last comes last. */
  readonly #ofKeys = new Map<string, Circuit>();
  /** Open ones, and those whose probe is under way: all wait alike, so the one that began first is due first. */
  readonly #waiting = new Set<Circuit>();
  readonly #transitions = noCircuits();
  #timer: NodeJS.Timeout | undefined = undefined;

  constructor(settings: CircuitSettings, listener?: CircuitListener) {
    this.#settings = settings;
    this.#listener = listener;
  }

  /** How many are in each state now. */
  get counts(): CircuitCounts {
    if (this.#waiting.size > 0) this.#letDuePass();
    const counts = noCircuits();
    for (const { state } of this.#ofKeys.values()) counts[state] += 1;
    for (const circuit of this.#listed) if (this.#isKept(circuit)) counts[circuit.state] += 1;
    return counts;
  }

  /** How often one came into each state. */
  get transitions(): CircuitCounts {
    return { ...this.#transitions };
  }

  ofUpstream(upstream: Upstream): Circuit {
    if (this.#waiting.size > 0) this.#letDuePass();
    let circuit = this.#ofUpstreams.get(upstream);
    if (circuit === undefined) {
      circuit = new Circuit(upstream, this.#settings, this);
      this.#ofUpstreams.set(upstream, circuit);
      this.#listed.add(circuit);
      upstream.addCircuit(circuit);
    }
    return circuit;
  }

  ofKey(key: string): Circuit {
    if (this.#waiting.size > 0) this.#letDuePass();
    let circuit = this.#ofKeys.get(key);
    if (circuit === undefined) {
      circuit = new Circuit(key, this.#settings, this);
      if (this.#ofKeys.size === MAX_KEYS) this.#forgetKey();
    } else {
      this.#ofKeys.delete(key);
    }
    this.#ofKeys.set(key, circuit);
    return circuit;
  }

  changed(circuit: Circuit, previous: CircuitState): void {
    const { upstream, key, state, since, openedAt } = circuit;
    const isKept = this.#isKept(circuit);
    this.#wait(circuit, state === 'open' && isKept);
    if (!isKept) return;
    this.#transitions[state] += 1;
    const change: CircuitChange = { state, previous, upstream, key, since, openedAt };
    upstream?.circuitsChanged(change);
    callListener('circuitBreaker: onStateChange threw', () => this.#listener?.(change));
  }

  probing(circuit: Circuit): void {
    this.#wait(circuit, !circuit.awaitsProbe && this.#isKept(circuit));
    circuit.upstream?.circuitsChanged();
  }

  /** Requests may still be under way for what has been removed or forgotten; nobody wants to hear of it. */
  #isKept(circuit: Circuit): boolean {
    const { upstream, key } = circuit;
    if (upstream !== undefined) return !upstream.bars.has('draining');
    return this.#ofKeys.get(key as string) === circuit;
  }

  /** It begins to wait, behind all others, or has nothing more to wait for. */
  #wait(circuit: Circuit, waits: boolean): void {
    this.#waiting.delete(circuit);
    if (waits) this.#waiting.add(circuit);
    this.#setTimer();
  }

  #letDuePass(): void {
    for (const circuit of this.#waiting) {
      if (circuit.dueMs > 0) return;
      circuit.letProbePass();
    }
  }

  #setTimer(): void {
    const [first] = this.#waiting;
    if (first === undefined) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    } else if (this.#timer === undefined) {
      this.#timer = setTimeout(
        () => {
          this.#timer = undefined;
          this.#letDuePass();
          this.#setTimer();
        },
        // A clock that was set back makes it long; a timer would take too long a delay for none.
        Math.min(MAX_TIMER_MS, Math.max(1, Math.ceil(first.dueMs))),
      );
      this.#timer.unref();
    }
  }

  /** The one not used for longest; rather one that is closed, or clients could have an open one forgotten. */
  #forgetKey(): void {
    let forgotten: string | undefined;
    let looked = 0;
    for (const [key, { state }] of this.#ofKeys) {
      forgotten ??= key;
      if (state !== 'closed' && ++looked < MAX_LOOKED_AT) continue;
      if (state === 'closed') forgotten = key;
      break;
    }
    const circuit = this.#ofKeys.get(forgotten as string) as Circuit;
    this.#ofKeys.delete(forgotten as string);
    this.#wait(circuit, false);
  }
}

function noCircuits(): Record<CircuitState, number> {
  return { closed: 0, 'half-open': 0, open: 0 };
}
