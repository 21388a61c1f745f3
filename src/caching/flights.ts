/** Most URLs that are remembered for not being kept. */
const MAX_PASSED = 10_000;
/** How long one is. */
const PASSED_MS = 60_000;

/** A request that is under way. */
export interface Flight {
  readonly key: string;
  /** Whether what it brings may be outdated by the time it comes, and must not be kept. */
  isOutdated: boolean;
  /** What it has brought is kept, or will not be. */
  land(): void;
}

/** What is asked for right now: of several who want the same, one goes, and the others wait for it. */
export class Flights {
  readonly #waitMs: number;
  readonly #now: () => number;
  readonly #underWay = new Set<Flight>();
  /** The end of that which others wait for, by key. */
  readonly #awaited = new Map<string, Promise<void>>();
  /** What was not kept the last time, and until when nobody waits for it. */
  readonly #passed = new Map<string, number>();

  constructor(waitMs: number, now: () => number) {
    this.#waitMs = waitMs;
    this.#now = now;
  }

  /** The end of that which somebody else asks for, where it is worth waiting for; or of the patience for it. */
  wait(key: string): Promise<void> | undefined {
    const landed = this.#awaited.get(key);
    if (landed === undefined || this.#waitMs === 0 || this.#isPassed(key)) return undefined;
    return inTime(landed, this.#waitMs);
  }

  /** Sets out; `forAll` has others wait for what it brings, if they do not wait already. */
  begin(key: string, forAll: boolean): Flight {
    let landed = (): void => {};
    const isAwaited = forAll && !this.#awaited.has(key);
    if (isAwaited) {
      const end = new Promise<void>((resolve) => {
        landed = resolve;
      });
      this.#awaited.set(key, end);
    }
    const flight: Flight = {
      key,
      isOutdated: false,
      land: () => {
        if (this.#underWay.delete(flight) && isAwaited) this.#awaited.delete(key);
        landed();
      },
    };
    this.#underWay.add(flight);
    return flight;
  }

  /** What is under way for a key, or for all, is outdated. */
  outdate(key?: string): void {
    for (const flight of this.#underWay) {
      if (key === undefined || flight.key === key) flight.isOutdated = true;
    }
  }

  /** Notes whether it was kept. Nobody waits for what is not. */
  note(key: string, isKept: boolean): void {
    this.#passed.delete(key);
    if (isKept) return;
    this.#passed.set(key, this.#now() + PASSED_MS);
    if (this.#passed.size <= MAX_PASSED) return;
    const [oldest] = this.#passed.keys();
    this.#passed.delete(oldest as string);
  }

  #isPassed(key: string): boolean {
    const until = this.#passed.get(key);
    return until !== undefined && this.#now() < until;
  }
}

async function inTime(end: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
    timer.unref();
  });
  await Promise.race([end, late]);
  clearTimeout(timer);
}
