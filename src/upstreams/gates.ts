import type { IncomingMessage } from 'node:http';
import type { Exchange } from '../exchange/exchange.js';
import { inspect } from '../options.js';
import { Gate, type GateSettings } from './gate.js';
import type { Upstream } from './upstream.js';

/** Which gate an exchange has to pass. */
export interface Gates {
  /** `undefined` when there is none for it. */
  of(exchange: Exchange): Gate | undefined;
  /** Gives the exchange to an upstream whose gate has room, when its own has none. */
  elsewhere?(exchange: Exchange): Gate | undefined;
}

/** One gate for everything. */
export function oneGate(settings: GateSettings): Gates {
  const gate = new Gate(settings);
  return { of: () => gate };
}

/** A gate for each upstream; it is forgotten with the upstream. */
export class UpstreamGates implements Gates {
  readonly #settings: GateSettings;
  readonly #gates = new WeakMap<Upstream, Gate>();

  constructor(settings: GateSettings) {
    this.#settings = settings;
  }

  of({ upstream }: Exchange): Gate | undefined {
    return upstream && this.#gateOf(upstream);
  }

  /**
   * The least busy upstream that the exchange has not been to. To look at all of them costs something,
   * but only where there would be a wait or an error instead.
   */
  elsewhere(exchange: Exchange): Gate | undefined {
    const { pool, attempts } = exchange;
    if (pool === undefined) return undefined;
    let best: Upstream | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (const upstream of pool.eligible) {
      const { hasRoom, inFlight } = this.#gateOf(upstream);
      if (!hasRoom || inFlight >= fewest) continue;
      if (attempts.some((attempt) => attempt.upstream === upstream)) continue;
      best = upstream;
      fewest = inFlight;
    }
    if (best === undefined) return undefined;
    exchange.upstream = pool.give(exchange, best);
    return this.#gateOf(best);
  }

  #gateOf(upstream: Upstream): Gate {
    let gate = this.#gates.get(upstream);
    if (gate === undefined) {
      gate = new Gate(this.#settings);
      this.#gates.set(upstream, gate);
    }
    return gate;
  }
}

/** A gate for each key, for as long as anybody is inside. */
export class KeyedGates implements Gates {
  readonly #settings: GateSettings;
  readonly #keyOf: (req: IncomingMessage) => string;
  readonly #path: string;
  readonly #gates = new Map<string, Gate>();

  /** `path` names the function in the message when what it returns is no key. */
  constructor(settings: GateSettings, keyOf: (req: IncomingMessage) => string, path: string) {
    this.#settings = settings;
    this.#keyOf = keyOf;
    this.#path = path;
  }

  /** How many keys are remembered. */
  get size(): number {
    return this.#gates.size;
  }

  of({ req }: Exchange): Gate {
    const key = this.#keyOf(req);
    if (typeof key !== 'string') {
      throw new TypeError(`${this.#path} must return a string, received ${inspect(key)}`);
    }
    let gate = this.#gates.get(key);
    if (gate === undefined) {
      gate = new Gate(this.#settings, () => this.#gates.delete(key));
      this.#gates.set(key, gate);
    }
    return gate;
  }
}
