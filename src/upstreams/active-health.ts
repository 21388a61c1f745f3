import {
  callable,
  inspect,
  known,
  MAX_TIMER_MS,
  milliseconds,
  oneOf,
  wholeNumber,
} from '../options.js';
import type { Upstream } from './upstream.js';
import { yesOrNo } from './yes-or-no.js';

/** How upstreams are asked whether they are well. */
export interface ActiveHealthOptions {
  /**
   * What is asked for, below the upstream's base path; a query of its own comes behind the upstream's.
   *
   * @default '/'
   */
  readonly path?: string | undefined;
  /**
   * The pause between two questions to one upstream, give or take a tenth.
   *
   * @default 10_000
   */
  readonly intervalMs?: number | undefined;
  /**
   * @default 2_000
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Good answers in a row that bring an upstream back.
   *
   * @default 2
   */
  readonly healthyAfter?: number | undefined;
  /**
   * Bad answers in a row that take one out.
   *
   * @default 3
   */
  readonly unhealthyAfter?: number | undefined;
  /**
   * The status of a good answer, several, or a function that decides.
   *
   * @default any from 200 to 399
   */
  readonly expectStatus?: number | readonly number[] | ((status: number) => boolean) | undefined;
  /** What the body of a good answer contains or matches. Not looked at by default. */
  readonly expectBody?: string | RegExp | undefined;
  /**
   * What an upstream is taken for until the first answer. After `'unhealthy'`, one good answer is enough
   * when it is the first; after a bad one it takes `healthyAfter` of them.
   *
   * @default 'healthy'
   */
  readonly initial?: 'healthy' | 'unhealthy' | undefined;
}

/** An answer to a probe. */
export interface ProbeResult {
  readonly status: number;
  readonly body: string;
}

/** Asks an upstream over its own connections. Rejects when there is no answer in time. */
export type Probe = (
  upstream: Upstream,
  path: string,
  timeoutMs: number,
  needsBody: boolean,
) => Promise<ProbeResult>;

/** What is remembered of one upstream. */
interface Watch {
  timer: NodeJS.Timeout | undefined;
  /** Good answers in a row, or bad ones as a negative number. */
  streak: number;
}

/** Asks every upstream at intervals, one question at a time, and bars those that do not answer well. */
export class ActiveHealth {
  readonly #path: string;
  readonly #intervalMs: number;
  readonly #timeoutMs: number;
  readonly #healthyAfter: number;
  readonly #unhealthyAfter: number;
  readonly #expects: (result: ProbeResult) => boolean;
  readonly #needsBody: boolean;
  readonly #initial: 'healthy' | 'unhealthy';
  readonly #random: () => number;
  readonly #watches = new Map<Upstream, Watch>();
  #probe: Probe | undefined = undefined;
  #closed = false;

  /** None where it is not asked for. */
  static of(
    factory: string,
    options: ActiveHealthOptions | false | undefined,
    random: () => number,
  ): ActiveHealth | undefined {
    const isOff = options === undefined || options === false;
    return isOff ? undefined : new ActiveHealth(factory, options, random);
  }

  private constructor(factory: string, options: ActiveHealthOptions, random: () => number) {
    const {
      path = '/',
      intervalMs = 10_000,
      timeoutMs = 2_000,
      healthyAfter = 2,
      unhealthyAfter = 3,
      expectStatus,
      expectBody,
      initial = 'healthy',
    } = known(factory, options, [
      'path',
      'intervalMs',
      'timeoutMs',
      'healthyAfter',
      'unhealthyAfter',
      'expectStatus',
      'expectBody',
      'initial',
    ]);
    if (typeof path !== 'string' || !/^\/[\x21-\x7e]*$/.test(path)) {
      throw new TypeError(`${factory}.path must be a path, received ${inspect(path)}`);
    }
    if (path.includes('#')) {
      const wanted = 'must be without a fragment, which is never sent';
      throw new TypeError(`${factory}.path ${wanted}, received ${inspect(path)}`);
    }
    milliseconds(`${factory}.intervalMs`, intervalMs);
    milliseconds(`${factory}.timeoutMs`, timeoutMs);
    wholeNumber(`${factory}.healthyAfter`, healthyAfter, 1);
    wholeNumber(`${factory}.unhealthyAfter`, unhealthyAfter, 1);
    oneOf(`${factory}.initial`, initial, ['healthy', 'unhealthy']);
    this.#path = path;
    this.#intervalMs = intervalMs;
    this.#timeoutMs = timeoutMs;
    this.#healthyAfter = healthyAfter;
    this.#unhealthyAfter = unhealthyAfter;
    this.#initial = initial;
    this.#needsBody = expectBody !== undefined;
    this.#random = random;
    const statusFits = statusCheck(`${factory}.expectStatus`, expectStatus);
    const bodyFits = bodyCheck(`${factory}.expectBody`, expectBody);
    this.#expects = ({ status, body }) => statusFits(status) && bodyFits(body);
  }

  /** Begins to ask. Until a pipeline has lent its transport, there is nothing to ask over. */
  start(probe: Probe): void {
    if (this.#probe !== undefined) return;
    this.#probe = probe;
    for (const [upstream, watch] of this.#watches) this.#schedule(upstream, watch, 0);
  }

  watch(upstream: Upstream): void {
    if (this.#closed) return;
    const watch: Watch = { timer: undefined, streak: 0 };
    this.#watches.set(upstream, watch);
    if (this.#initial === 'unhealthy') upstream.bar('unhealthy');
    if (this.#probe !== undefined) this.#schedule(upstream, watch, 0);
  }

  forget(upstream: Upstream): void {
    clearTimeout(this.#watches.get(upstream)?.timer);
    this.#watches.delete(upstream);
  }

  /** Asks no more, not even what joins from now on. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#watches.values()) clearTimeout(timer);
    this.#watches.clear();
  }

  /** The first question comes at a random moment of the interval, so that they do not come all at once. */
  #schedule(upstream: Upstream, watch: Watch, pauseMs: number): void {
    const spread = pauseMs === 0 ? this.#random() * Math.min(this.#intervalMs, 1_000) : 0;
    const jitter = 0.9 + 0.2 * this.#random();
    const delay = Math.min(spread + pauseMs * jitter, MAX_TIMER_MS);
    watch.timer = setTimeout(() => void this.#ask(upstream, watch), delay);
    watch.timer.unref();
  }

  async #ask(upstream: Upstream, watch: Watch): Promise<void> {
    const probe = this.#probe as Probe;
    const good = await probe(upstream, this.#path, this.#timeoutMs, this.#needsBody)
      .then((result) => this.#expects(result))
      .catch(() => false);
    if (this.#watches.get(upstream) !== watch) return;
    this.#judge(upstream, watch, good);
    this.#schedule(upstream, watch, this.#intervalMs);
  }

  #judge(upstream: Upstream, watch: Watch, good: boolean): void {
    const first = watch.streak === 0;
    watch.streak = good ? Math.max(watch.streak, 0) + 1 : Math.min(watch.streak, 0) - 1;
    if (good && (watch.streak >= this.#healthyAfter || (first && this.#initial === 'unhealthy'))) {
      upstream.lift('unhealthy');
    } else if (!good && -watch.streak >= this.#unhealthyAfter) {
      upstream.bar('unhealthy');
    }
  }
}

function statusCheck(
  at: string,
  expected: ActiveHealthOptions['expectStatus'],
): (status: number) => boolean {
  if (expected === undefined) return isUsual;
  if (typeof expected === 'function') return yesOrNo(at, expected, isUsual);
  const statuses = typeof expected === 'number' ? [expected] : expected;
  if (!Array.isArray(statuses)) callable(at, expected);
  for (const status of statuses) wholeNumber(at, status, 100, 599);
  return (status) => statuses.includes(status);
}

function isUsual(status: number): boolean {
  return status >= 200 && status < 400;
}

function bodyCheck(at: string, expected: string | RegExp | undefined): (body: string) => boolean {
  if (expected === undefined) return () => true;
  if (typeof expected === 'string') return (body) => body.includes(expected);
  if (!(expected instanceof RegExp)) {
    throw new TypeError(`${at} must be a string or a RegExp, received ${inspect(expected)}`);
  }
  return (body) => body.search(expected) !== -1;
}
