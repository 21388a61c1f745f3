import { warnOfThrown } from '../warnings.js';
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
 * upstream. One timer serves all of them, and runs only while one is open.
 */
export class Circuits implements CircuitObserver {
  readonly #settings: CircuitSettings;
  readonly #listener: CircuitListener | undefined;
  readonly #ofUpstreams = new WeakMap<Upstream, Circuit>();
  /** The same, to be counted. */
  readonly #listed = new WeakList<Circuit>();
  /** The one that was used last comes last. */
  readonly #ofKeys = new Map<string, Circuit>();
  /** All wait alike, so the one that opened first is due first. */
  readonly #open = new Set<Circuit>();
  readonly #transitions = noCircuits();
  #timer: NodeJS.Timeout | undefined = undefined;

  constructor(settings: CircuitSettings, listener?: CircuitListener) {
    this.#settings = settings;
    this.#listener = listener;
  }

  /** How many are in each state now. */
  get counts(): CircuitCounts {
    if (this.#open.size > 0) this.#halfOpenDue();
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
    if (this.#open.size > 0) this.#halfOpenDue();
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
    if (this.#open.size > 0) this.#halfOpenDue();
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
    if (state === 'open' && isKept) this.#open.add(circuit);
    else this.#open.delete(circuit);
    this.#setTimer();
    if (!isKept) return;
    this.#transitions[state] += 1;
    const change: CircuitChange = { state, previous, upstream, key, since, openedAt };
    upstream?.circuitsChanged(change);
    if (this.#listener !== undefined) tell(this.#listener, change);
  }

  probing({ upstream }: Circuit): void {
    upstream?.circuitsChanged();
  }

  /** Requests may still be under way for what has been removed or forgotten; nobody wants to hear of it. */
  #isKept(circuit: Circuit): boolean {
    const { upstream, key } = circuit;
    if (upstream !== undefined) return !upstream.bars.has('draining');
    return this.#ofKeys.get(key as string) === circuit;
  }

  #halfOpenDue(): void {
    for (const circuit of this.#open) {
      if (circuit.waitMs > 0) return;
      circuit.halfOpen();
    }
  }

  #setTimer(): void {
    const [first] = this.#open;
    if (first === undefined) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    } else if (this.#timer === undefined) {
      this.#timer = setTimeout(
        () => {
          this.#timer = undefined;
          this.#halfOpenDue();
          this.#setTimer();
        },
        Math.max(1, Math.ceil(first.waitMs)),
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
    this.#open.delete(circuit);
    this.#setTimer();
  }
}

function noCircuits(): Record<CircuitState, number> {
  return { closed: 0, 'half-open': 0, open: 0 };
}

/** What a listener throws, now or later, becomes a warning of the process. */
function tell(listener: CircuitListener, change: CircuitChange): void {
  try {
    const result: unknown = listener(change);
    if (result instanceof Promise) result.catch(warn);
  } catch (error) {
    warn(error);
  }
}

function warn(error: unknown): void {
  warnOfThrown('circuitBreaker: onStateChange threw', error);
}
