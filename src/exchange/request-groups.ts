import { isPromise } from '../promises.js';
import type { Exchange } from './exchange.js';
import type { Labels } from './exposition.js';
import { RequestGroup } from './request-group.js';

/** Makes a label of an exchange that has ended. */
export type MetricLabel = (exchange: Exchange) => string | undefined;

/** Distinct values of a label. The rest count together. */
const MAX_VALUES = 100;
/** Groups of series in all, however many values the labels have. */
const MAX_GROUPS = 1_000;
/** Longer values are cut: a label is a name. */
const MAX_LENGTH = 128;
/** What stands for the values that are too many, and for methods that nobody knows. */
const OTHER = 'other';

const METHODS: readonly string[] = [
  ...['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'],
  OTHER,
];

/**
 * The groups that requests are counted in: one for each method, route, and value of a label of the user's.
 * Their number is bounded, whatever clients send.
 */
export class RequestGroups {
  readonly #bounds: Float64Array;
  readonly #names: readonly string[];
  readonly #functions: readonly MetricLabel[];
  /** By route and labels, then by method. */
  readonly #groups = new Map<string, (RequestGroup | undefined)[]>();
  readonly #values: readonly Set<string>[];
  #count = 0;

  constructor(bounds: Float64Array, labels: Readonly<Record<string, MetricLabel>>) {
    const functions = { route: (exchange: Exchange) => exchange.route, ...labels };
    this.#bounds = bounds;
    this.#names = Object.keys(functions);
    this.#functions = Object.values(functions);
    this.#values = this.#names.map(() => new Set());
  }

  /** The names of the labels of each group. */
  get labels(): readonly string[] {
    return ['method', ...this.#names];
  }

  /** The group of an exchange. */
  of(exchange: Exchange): RequestGroup {
    const functions = this.#functions;
    let key = valueFor(functions[0] as MetricLabel, exchange);
    for (let i = 1; i < functions.length; i++) {
      key += `\n${valueFor(functions[i] as MetricLabel, exchange)}`;
    }
    const method = methodIndex(exchange.req.method);
    return this.#groups.get(key)?.[method] ?? this.#find(this.#bounded(key), method);
  }

  /** All groups, in the order in which they came up. */
  *[Symbol.iterator](): Generator<RequestGroup> {
    for (const byMethod of this.#groups.values()) {
      for (const group of byMethod) if (group !== undefined) yield group;
    }
  }

  /** The key with `other` in place of each value that is one too many. */
  #bounded(key: string): string {
    return key
      .split('\n')
      .map((value, i) => {
        const seen = this.#values[i] as Set<string>;
        if (!seen.has(value) && seen.size >= MAX_VALUES) return OTHER;
        seen.add(value);
        return value;
      })
      .join('\n');
  }

  #find(key: string, method: number): RequestGroup {
    let byMethod = this.#groups.get(key);
    const known = byMethod?.[method];
    if (known !== undefined) return known;
    const rest = this.#names.map(() => OTHER).join('\n');
    const last = METHODS.length - 1;
    // The group of all that is too much must be there for it, whatever the count.
    if (this.#count >= MAX_GROUPS && (key !== rest || method !== last)) {
      return this.#find(rest, last);
    }
    if (byMethod === undefined) {
      byMethod = METHODS.map(() => undefined);
      this.#groups.set(key, byMethod);
    }
    const group = new RequestGroup(this.#labels(METHODS[method] as string, key), this.#bounds);
    byMethod[method] = group;
    this.#count += 1;
    return group;
  }

  #labels(method: string, key: string): Labels {
    const values = key.split('\n');
    const pairs = this.#names.map((name, i) => [name, values[i] ?? '']);
    return Object.fromEntries([['method', method], ...pairs]);
  }
}

/** The most frequent ones come first. */
function methodIndex(method: string | undefined): number {
  const i = METHODS.indexOf(method ?? '');
  return i === -1 ? METHODS.length - 1 : i;
}

/** A label's value; one that cannot be found must not keep the request from being counted. */
function valueFor(label: MetricLabel, exchange: Exchange): string {
  try {
    const value: unknown = label(exchange);
    if (typeof value === 'string') return clean(value);
    if (value === undefined) return '';
    // A rejection that nobody hears of would end the process.
    if (isPromise(value)) value.then(undefined, () => {});
    return OTHER;
  } catch {
    return OTHER;
  }
}

/** Keys are taken apart at line breaks; and half a character would be no text. */
function clean(value: string): string {
  const whole = value.length <= MAX_LENGTH ? value : value.slice(0, MAX_LENGTH);
  return whole.includes('\n') ? whole.replaceAll('\n', ' ') : whole;
}
