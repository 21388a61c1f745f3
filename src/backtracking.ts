/**
 * How often a regular expression may have to try again before it gives up, told without running it.
 *
 * The expression is taken as the graph of its characters (Glushkov's automaton): which can come first,
 * and which behind which. Where two ways on begin with a character in common, the engine may have to
 * try both. Within a loop, that is exponential in the length of the text; on the way out of a loop, it
 * costs one more factor of it.
 */

/** The square of 16 KiB, the longest path that Node takes, is done in less than a second. */
const MAX_POWER = 2;
/** Choices outside of loops, each of which may double the time. */
const MAX_CHOICES = 3;

/** Whether a pattern can keep a hostile path busy for seconds. */
export function backtracks(pattern: RegExp): boolean {
  const graph = new Graph(pattern);
  return graph.hopeless || graph.choices() > MAX_CHOICES || graph.power() > MAX_POWER;
}

/** A character of the expression. */
interface Place {
  /** The characters of paths that it matches, one bit each. */
  readonly matches: bigint;
  /** What can come behind it; a place is in it twice when there are two ways to it. */
  readonly next: Place[];
  /** The outermost loop around it. */
  loop: object | undefined;
}

/** A part of the expression: what it can begin and end with, and whether it can be empty. */
interface Part {
  readonly first: readonly Place[];
  readonly last: readonly Place[];
  readonly nullable: boolean;
}

const NOTHING: Part = { first: [], last: [], nullable: true };

const ATOM = /\\(?:[pP]\{[^}]*\}|u\{[^}]*\}|u[\dA-Fa-f]{4}|x[\dA-Fa-f]{2}|c[A-Za-z]|.)|./sy;
const CLASS = /\[(?:[^\\\]]|\\.)*\]/sy;
const GROUP = /\((?:\?(?:(<?[=!])|<[^>]*>|[a-z-]*:))?/y;
const EDGE = /[$^]|(\\[bB])/y;
const REFERENCE = /\\(?:[1-9]\d*|k<[^>]*>)/y;
const QUANTIFIER = /(?:([*+?])|\{(\d+)(,(\d*))?\})\??/y;

class Graph {
  /** Whether something that can be empty is counted off: then each of the counts is a choice. */
  hopeless = false;
  readonly #source: string;
  readonly #flags: string;
  readonly #places: Place[] = [];
  readonly #start: Place = { matches: 0n, next: [], loop: undefined };
  readonly #whole: Part;
  readonly #anchored: boolean;
  #at = 0;
  #seesEnd = false;
  #looksAround = false;

  constructor({ source, flags }: RegExp) {
    this.#source = source;
    this.#flags = `i${flags.replace(/[^suv]/g, '')}`;
    const first = this.#alternative();
    const isOnly = this.#at === source.length;
    this.#anchored = flags.includes('y') || (isOnly && /^\^/.test(source) && !flags.includes('m'));
    this.#whole = this.#alternatives(first);
    join([this.#start], this.#whole.first);
  }

  /** In how many places there are two ways on; infinite when both stay in one loop. */
  choices(): number {
    let choices = 0;
    for (const place of [this.#start, ...this.#places]) {
      if (isAmbiguous(staying(place))) return Number.POSITIVE_INFINITY;
      if (isAmbiguous(leaving(place))) choices++;
    }
    return choices;
  }

  /** The power of the text's length that bounds the time. */
  power(): number {
    const known = new Map<object, number>();
    const powerFrom = (place: Place): number => {
      const key = place.loop ?? place;
      const power = known.get(key) ?? this.#powerOf(place, powerFrom);
      known.set(key, power);
      return power;
    };
    return powerFrom(this.#start) + (this.#anchored ? 0 : 1);
  }

  #powerOf(place: Place, powerFrom: (next: Place) => number): number {
    const { loop } = place;
    const members = loop === undefined ? [place] : this.#places.filter((one) => one.loop === loop);
    const rest = Math.max(0, ...members.flatMap(leaving).map(powerFrom));
    if (loop === undefined || this.#mustMatch(members)) return rest;
    const tries = members.some((one) => (union(staying(one)) & union(leaving(one))) !== 0n);
    return tries ? rest + 1 : Math.max(rest, 1);
  }

  /** Whether the whole expression matches as soon as these have: then nothing is tried again. */
  #mustMatch(members: readonly Place[]): boolean {
    if (this.#looksAround || !members.every((one) => this.#whole.last.includes(one))) return false;
    return !this.#seesEnd || members.every(({ matches }) => matches === EVERYTHING);
  }

  #alternatives(first: Part): Part {
    let all = first;
    while (this.#source[this.#at] === '|') {
      this.#at++;
      const { first, last, nullable } = this.#alternative();
      all = {
        first: [...all.first, ...first],
        last: [...all.last, ...last],
        nullable: all.nullable || nullable,
      };
    }
    return all;
  }

  #alternative(): Part {
    let all = NOTHING;
    while (this.#at < this.#source.length && !/[|)]/.test(this.#source[this.#at] as string)) {
      const { first, last, nullable } = this.#term();
      join(all.last, first);
      all = {
        first: all.nullable ? [...all.first, ...first] : all.first,
        last: nullable ? [...all.last, ...last] : last,
        nullable: all.nullable && nullable,
      };
    }
    return all;
  }

  #term(): Part {
    const from = this.#places.length;
    const part = this.#atom();
    const quantifier = this.#take(QUANTIFIER);
    if (quantifier === null) return part;
    const [min, max] = boundsOf(quantifier);
    const [character, ...others] = this.#places.slice(from);
    // A character so many times, no more and no fewer, leaves nothing to try.
    const isPlain = character?.loop === undefined && others.length === 0 && !part.nullable;
    if (max > 1 && !(isPlain && min === max)) {
      this.hopeless ||= part.nullable && max !== Number.POSITIVE_INFINITY;
      join(part.last, part.first);
      const loop = {};
      for (const place of this.#places.slice(from)) place.loop = loop;
    }
    return min === 0 ? { ...part, nullable: true } : part;
  }

  #atom(): Part {
    const edge = this.#take(EDGE);
    if (edge !== null) {
      this.#seesEnd = true;
      this.#looksAround ||= edge[1] !== undefined;
      return NOTHING;
    }
    const group = this.#take(GROUP);
    if (group !== null) {
      const inner = this.#alternatives(this.#alternative());
      this.#at++;
      if (group[1] === undefined) return inner;
      this.#looksAround = true;
      return { ...inner, nullable: true };
    }
    if (this.#take(REFERENCE) !== null) {
      this.#looksAround = true;
      const place = this.#place(EVERYTHING);
      place.loop = {};
      place.next.push(place);
      return { first: [place], last: [place], nullable: true };
    }
    const [text = ''] = this.#take(CLASS) ?? this.#take(ATOM) ?? [];
    const place = this.#place(matchesOf(text, this.#flags));
    return { first: [place], last: [place], nullable: false };
  }

  #place(matches: bigint): Place {
    const place: Place = { matches, next: [], loop: undefined };
    this.#places.push(place);
    return place;
  }

  #take(token: RegExp): RegExpExecArray | null {
    token.lastIndex = this.#at;
    const found = token.exec(this.#source);
    if (found !== null) this.#at = token.lastIndex;
    return found;
  }
}

function boundsOf([, sign, count, range, most]: RegExpExecArray): [min: number, max: number] {
  if (sign === '?') return [0, 1];
  if (sign !== undefined) return [sign === '+' ? 1 : 0, Number.POSITIVE_INFINITY];
  const min = Number(count);
  return [min, range === undefined ? min : Number(most || Number.POSITIVE_INFINITY)];
}

function join(from: readonly Place[], to: readonly Place[]): void {
  for (const place of from) place.next.push(...to);
}

function staying({ next, loop }: Place): Place[] {
  return next.filter((one) => loop !== undefined && one.loop === loop);
}

function leaving({ next, loop }: Place): Place[] {
  return next.filter((one) => loop === undefined || one.loop !== loop);
}

function union(places: readonly Place[]): bigint {
  return places.reduce((all, { matches }) => all | matches, 0n);
}

function isAmbiguous(places: readonly Place[]): boolean {
  let before = 0n;
  for (const { matches } of places) {
    if ((before & matches) !== 0n) return true;
    before |= matches;
  }
  return false;
}

/** What a path can consist of: the bytes that Node's parser takes in one. */
const CHARACTERS = Array.from({ length: 0xff - 0x20 }, (_, i) => String.fromCharCode(0x21 + i));
const EVERYTHING = (1n << BigInt(CHARACTERS.length)) - 1n;

function matchesOf(atom: string, flags: string): bigint {
  const whole = new RegExp(`^(?:${atom})$`, flags);
  return CHARACTERS.reduce(
    (all, character, i) => (whole.test(character) ? all | (1n << BigInt(i)) : all),
    0n,
  );
}
