/** Most requests that are remembered for what they brought not being kept. */
const MAX_PASSED = 10_000;
/** How long one is. */
const PASSED_MS = 60_000;

/** What is to become of those who wait, if nothing is kept for them: one of them goes, or all do at once. */
export type Landing = 'one goes' | 'all go';

/** A request that is under way. */
export interface Flight {
  /** Whether what it brings may be outdated by the time it comes, and must not be kept. */
  readonly isOutdated: boolean;
  /** What it has brought is kept, or will not be: then, all go who wait, unless it says otherwise. */
  land(others?: Landing): void;
}

/** What is asked for right now: of several who want the same, one goes, and the others wait for it. */
export class Flights {
  readonly #now: () => number;
  readonly #underWay = new Set<UnderWay>();
  /** Those that others wait for, by what they ask for. */
  readonly #awaited = new Map<string, UnderWay>();
  /** What was not kept the last time, and until when nobody waits for it; the oldest first. */
  readonly #passed = new Map<string, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * The end of that which somebody else asks for, where it is worth waiting for; or of the patience for it,
   * which lasts until a time by `performance.now()`.
   */
  wait(key: string, until: number): Promise<Landing> | undefined {
    const awaited = this.#awaited.get(key);
    const leftMs = until - performance.now();
    if (awaited === undefined || leftMs <= 0 || this.#isPassed(key)) return undefined;
    return inTime(awaited.landed, leftMs);
  }

  /** Sets out for a place. Who asks for the same by a key waits for what it brings, if they do not wait already. */
  begin(place: string, key: string | undefined): Flight {
    const flight = new UnderWay(place, () => {
      this.#underWay.delete(flight);
      if (key !== undefined && this.#awaited.get(key) === flight) this.#awaited.delete(key);
    });
    this.#underWay.add(flight);
    if (key !== undefined && !this.#awaited.has(key)) this.#awaited.set(key, flight);
    return flight;
  }

  /** What is under way for a place, or for all, is outdated. */
  outdate(place?: string): void {
    for (const flight of this.#underWay) {
      if (place === undefined || flight.place === place) flight.isOutdated = true;
    }
  }

  /** Notes whether it was kept. Nobody waits for what is not. */
  note(key: string, isKept: boolean): void {
    const now = this.#now();
    this.#passed.delete(key);
    if (!isKept) this.#passed.set(key, now + PASSED_MS);
    for (const [oldest, until] of this.#passed) {
      if (now < until && this.#passed.size <= MAX_PASSED) return;
      this.#passed.delete(oldest);
    }
  }

  #isPassed(key: string): boolean {
    const until = this.#passed.get(key);
    return until !== undefined && this.#now() < until;
  }
}

class UnderWay implements Flight {
  readonly place: string;
  readonly landed: Promise<Landing>;
  isOutdated = false;
  readonly #leave: () => void;
  #resolve: (others: Landing) => void = () => {};

  constructor(place: string, leave: () => void) {
    this.place = place;
    this.#leave = leave;
    this.landed = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  land(others: Landing = 'all go'): void {
    this.#leave();
    this.#resolve(others);
  }
}

async function inTime(end: Promise<Landing>, ms: number): Promise<Landing> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Landing>((resolve) => {
    timer = setTimeout(resolve, ms, 'all go');
    timer.unref();
  });
  const landing = await Promise.race([end, late]);
  clearTimeout(timer);
  return landing;
}
