import { validateHeaderName, validateHeaderValue } from 'node:http';
import { inspect } from '../options.js';
import { setByMethod } from './set-by-method.js';

/**
 * The header of a response: an ordered list of lines. Names match in any case and keep their
 * spelling; several lines of one name stay several lines.
 */
export class HeaderList implements Iterable<[name: string, value: string]> {
  /** Flat names and values, in order. */
  readonly #lines: string[];

  /** Takes over a flat list of names and values. */
  constructor(lines: string[] = []) {
    this.#lines = lines;
  }

  /** A list made of pairs, an object (arrays make several lines) or another list. */
  static from(init: HeadersInit | undefined): HeaderList {
    const list = new HeaderList();
    if (init === undefined) return list;
    const pairs = Symbol.iterator in init ? init : Object.entries(init);
    for (const [name, value] of pairs) {
      if (value === undefined) continue;
      for (const line of Array.isArray(value) ? value : [value]) list.append(name, line);
    }
    return list;
  }

  /** The value of a field, several lines joined with `, `. For `Set-Cookie` use {@link getAll}. */
  get(name: string): string | undefined {
    const lower = name.toLowerCase();
    let value: string | undefined;
    for (let i = this.#find(lower, 0); i !== -1; i = this.#find(lower, i + 2)) {
      const line = this.#lines[i + 1] as string;
      value = value === undefined ? line : `${value}, ${line}`;
    }
    return value;
  }

  /** The value of each line of a field. */
  getAll(name: string): string[] {
    const lower = name.toLowerCase();
    const values: string[] = [];
    for (let i = this.#find(lower, 0); i !== -1; i = this.#find(lower, i + 2)) {
      values.push(this.#lines[i + 1] as string);
    }
    return values;
  }

  /** Whether there is a line of this name. */
  has(name: string): boolean {
    return this.#find(name.toLowerCase(), 0) !== -1;
  }

  /**
   * Sets a field: the first line of that name is replaced where it stands, further ones go. An array
   * makes several lines.
   *
   * @throws TypeError when name or value cannot be sent.
   */
  set(name: string, value: string | number | readonly string[]): this {
    const lower = name.toLowerCase();
    const at = this.#find(lower, 0);
    if (Array.isArray(value)) {
      // All are checked before the first is written, so that a bad one leaves the field as it was.
      const lines = value.flatMap((line) => [name, checked(name, line)]);
      this.#remove(lower, 0);
      this.#lines.splice(at === -1 ? this.#lines.length : at, 0, ...lines);
      return this;
    }
    const line = checked(name, value as string | number);
    if (at === -1) {
      this.#lines.push(name, line);
    } else {
      this.#lines[at] = name;
      this.#lines[at + 1] = line;
      this.#remove(lower, at + 2);
    }
    return this;
  }

  /** Adds a line. */
  append(name: string, value: string | number): this {
    this.#lines.push(name, checked(name, value));
    return this;
  }

  /** Removes all lines of a field; says whether there were any. */
  delete(name: string): boolean {
    return this.#remove(name.toLowerCase(), 0);
  }

  /** Each line, in order. */
  *entries(): Generator<[name: string, value: string]> {
    for (let i = 0; i < this.#lines.length; i += 2) {
      yield [this.#lines[i] as string, this.#lines[i + 1] as string];
    }
  }

  [Symbol.iterator](): Generator<[name: string, value: string]> {
    return this.entries();
  }

  /** The lines as one flat list of names and values: the list itself, so do not change it. */
  flat(): readonly string[] {
    return this.#lines;
  }

  /** Lower-case names with their values, for logs and tests; arrays where there are several lines. */
  toJSON(): Record<string, string | string[]> {
    const fields: Record<string, string | string[]> = Object.create(null);
    for (const [name] of this) {
      const values = this.getAll(name);
      fields[name.toLowerCase()] = values.length === 1 ? (values[0] as string) : values;
    }
    return fields;
  }

  #find(lower: string, from: number): number {
    const lines = this.#lines;
    for (let i = from; i < lines.length; i += 2) {
      const name = lines[i] as string;
      if (name.length === lower.length && (name === lower || name.toLowerCase() === lower))
        return i;
    }
    return -1;
  }

  #remove(lower: string, from: number): boolean {
    let at = this.#find(lower, from);
    if (at === -1) return false;
    for (; at !== -1; at = this.#find(lower, at)) this.#lines.splice(at, 2);
    return true;
  }
}

setByMethod(HeaderList);

/** What a {@link HeaderList} can be made from. */
export type HeadersInit =
  | Iterable<readonly [name: string, value: string | readonly string[]]>
  | Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** Types that read as what was meant. */
const TEXT = ['string', 'number', 'boolean', 'bigint'];

function checked(name: string, value: string | number): string {
  if (!TEXT.includes(typeof value)) {
    throw new TypeError(
      `headers: "${name}" must have text for a value, received ${inspect(value)}`,
    );
  }
  const line = String(value);
  validateHeaderName(name);
  validateHeaderValue(name, line);
  return line;
}
