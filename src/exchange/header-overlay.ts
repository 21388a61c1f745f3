import { type IncomingMessage, validateHeaderName, validateHeaderValue } from 'node:http';
import { emptyList } from '../lists.js';
import { inspect } from '../options.js';
import { ClientFields } from './client-fields.js';
import {
  ALIASED,
  acceptsTrailers,
  fieldInfo,
  HOP_BY_HOP,
  isReservedAlias,
  nominated,
  OWNED,
  PLAIN,
  PSEUDO,
} from './fields.js';
import { setByMethod } from './set-by-method.js';

/** What one overlay edit holds: the value to send, or `null` when the field is to go. */
type Edit = string | readonly string[] | null;

/** Fields that the transport frames the message with; nobody else can write them. */
const UNWRITABLE = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'expect',
  'content-length',
]);

const NOTHING: readonly string[] = [];

/**
 * The edits to the request's header, over the *live* `req.headers`: an edit that any middleware makes
 * there up to the moment of sending is honoured, an edit made here wins over it, and `req.headers`
 * itself is never changed.
 *
 * What the client says acts on the client's own fields alone: neither the hop-by-hop list nor a
 * nomination such as `Connection: X-User` removes what the app or a piece has set.
 */
export class HeaderOverlay implements Iterable<[name: string, value: string]> {
  readonly #req: IncomingMessage;
  /** Flat triples of lower-case name, name as given, and edit; short enough to be searched in order. */
  readonly #edits: (string | Edit)[] = emptyList();
  #keep: readonly string[] = NOTHING;
  #also: readonly string[] = NOTHING;
  #client: ClientFields | undefined = undefined;
  #stripped = false;

  constructor(req: IncomingMessage) {
    this.#req = req;
  }

  /** The value that will be sent, several lines joined as Node joins them. */
  get(name: string): string | undefined {
    const lower = name.toLowerCase();
    const at = this.#find(lower);
    if (at !== -1) return joined(lower, this.#edits[at + 2] as Edit);
    if (this.#stripped) {
      if (lower === 'te') return this.#inboundTe();
      if (!this.#crosses(lower, fieldInfo(name).flags, this.#nominated())) return undefined;
    }
    return joined(lower, this.#inbound(lower) ?? null);
  }

  /** Whether the field will be sent. */
  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  /**
   * Sets a field, in place of whatever the client sent under this name. An array makes several lines.
   *
   * @throws TypeError when name or value cannot be sent, or when the field frames the message.
   */
  set(name: string, value: string | number | readonly string[]): this {
    const lower = name.toLowerCase();
    validateHeaderName(name);
    if (UNWRITABLE.has(lower)) {
      throw new TypeError(`exchange.headers.set: "${name}" is written by the transport itself`);
    }
    const edit = typeof value === 'number' ? String(value) : value;
    if (typeof edit !== 'string' && !Array.isArray(edit)) {
      throw new TypeError(
        `exchange.headers.set: the value of ${name} must be a text, a number or lines, received ${inspect(edit)}`,
      );
    }
    for (const line of typeof edit === 'string' ? [edit] : edit) validateHeaderValue(name, line);
    this.#put(lower, name, edit);
    return this;
  }

  /**
   * Sets a field whose name and value are known to be sendable: the pieces' own way past the checks.
   *
   * @internal
   */
  write(lower: string, name: string, value: string): void {
    this.#put(lower, name, value);
  }

  /** Adds to a field what the client sent or an earlier edit set, as one more element or line. */
  append(name: string, value: string): this {
    const at = this.#find(name.toLowerCase());
    const edit = at === -1 ? undefined : (this.#edits[at + 2] as Edit);
    if (Array.isArray(edit)) return this.set(name, [...edit, value]);
    const before = this.get(name);
    const lower = name.toLowerCase();
    return this.set(name, before ? `${before}${separator(lower)}${value}` : value);
  }

  /** Takes care that a field is not sent, whoever set it. */
  delete(name: string): this {
    this.#put(name.toLowerCase(), name, null);
    return this;
  }

  /** The fields that will be sent, but for those that the transport adds (`Host`, framing). */
  *entries(): Generator<[name: string, value: string]> {
    const flat = this.flatten();
    for (let i = 0; i < flat.length; i += 2) {
      const value = flat[i + 1] as string | readonly string[];
      for (const line of typeof value === 'string' ? [value] : value)
        yield [flat[i] as string, line];
    }
  }

  [Symbol.iterator](): Generator<[name: string, value: string]> {
    return this.entries();
  }

  /** The fields that will be sent, lower-case, for logs and tests. */
  toJSON(): Record<string, string> {
    const fields: Record<string, string> = Object.create(null);
    for (const [name, value] of this) {
      const lower = name.toLowerCase();
      const before = fields[lower];
      fields[lower] = before === undefined ? value : `${before}${separator(lower)}${value}`;
    }
    return fields;
  }

  /** Makes hop-by-hop fields invisible from here on: see `stripHopHeaders`. Names in lower case. */
  strip(keep: readonly string[] = NOTHING, also: readonly string[] = NOTHING): void {
    this.#keep = keep;
    this.#also = also;
    this.#stripped = true;
  }

  /** Fields that `stripHopHeaders({ also })` takes out, in lower case. Responses lose them too. */
  get also(): readonly string[] {
    return this.#also;
  }

  /** Fields that `stripHopHeaders({ keep })` lets pass, in lower case, in both directions. */
  get keep(): readonly string[] {
    return this.#keep;
  }

  /** Whether a piece or the app has said something about the field, given in lower case. */
  isEdited(lower: string): boolean {
    return this.#find(lower) !== -1;
  }

  /** The edit of `Host`, which overrules the transport's `host` option. */
  get host(): string | undefined {
    const at = this.#find('host');
    return at === -1 ? undefined : joined('host', this.#edits[at + 2] as Edit);
  }

  /**
   * The request's header as it goes out, as flat names and values. Inbound names keep the client's
   * spelling and order. `Host`, framing and `Expect` are left to the transport.
   */
  flatten(): (string | readonly string[])[] {
    const { headers, rawHeaders } = this.#req;
    const flat: (string | readonly string[])[] = emptyList();
    const taken = this.#nominated();
    let at = 0;
    for (const lower in headers) {
      const value = headers[lower];
      if (value === undefined) continue;
      // Both lists are in the client's order, so the spelling is nearly always the next one.
      const next = rawHeaders[at];
      let info = next === undefined ? undefined : fieldInfo(next);
      if (info?.lower === lower) at += 2;
      else info = fieldInfo(this.#fromClient().spelling(lower));
      const { spelling, flags } = info;
      if (flags !== PLAIN || taken !== undefined || this.#also.length !== 0) {
        if (flags & (OWNED | PSEUDO)) continue;
        if (lower === 'te') {
          const te = this.#inboundTe();
          if (te !== undefined && this.#find('te') === -1) flat.push(spelling, te);
          continue;
        }
        if (!this.#crosses(lower, flags, taken)) continue;
      }
      if (this.#edits.length === 0 || this.#find(lower) === -1) flat.push(spelling, value);
    }
    for (let i = 0; i < this.#edits.length; i += 3) {
      const edit = this.#edits[i + 2] as Edit;
      if (edit !== null && this.#edits[i] !== 'host') flat.push(this.#edits[i + 1] as string, edit);
    }
    return flat;
  }

  #nominated(): ReadonlySet<string> | undefined {
    const names = nominated(this.#req.headers.connection);
    return names && new Set(names);
  }

  /** What of the client's `TE` may go on: that trailers are welcome, and nothing else unless it is kept. */
  #inboundTe(): string | undefined {
    const { te } = this.#req.headers;
    if (te === undefined || this.#also.includes('te')) return undefined;
    if (this.#keep.includes('te')) return String(te);
    return acceptsTrailers(String(te)) ? 'trailers' : undefined;
  }

  /** Whether an inbound field may go on. */
  #crosses(lower: string, flags: number, taken: ReadonlySet<string> | undefined): boolean {
    if (flags & HOP_BY_HOP && !this.#keep.includes(lower)) return false;
    if (flags & ALIASED) {
      const { alias } = fieldInfo(lower);
      if (isReservedAlias(alias) || this.#find(alias) !== -1) return false;
      if (this.#also.includes(alias)) return !this.#isClientsOwn(lower);
      if (this.#inbound(alias) !== undefined && !this.#isClientsOwn(alias)) return false;
    }
    // RFC 9110, 7.6.1: nominated fields are removed. Only as the client sent them (CVE-2026-33805).
    if (taken?.has(lower) || this.#also.includes(lower)) return !this.#isClientsOwn(lower);
    return true;
  }

  /** What `req.headers` has of a name; its prototype has names, too. */
  #inbound(lower: string): string | readonly string[] | undefined {
    const { headers } = this.#req;
    return Object.hasOwn(headers, lower) ? headers[lower] : undefined;
  }

  #fromClient(): ClientFields {
    this.#client ??= new ClientFields(this.#req.rawHeaders);
    return this.#client;
  }

  #isClientsOwn(lower: string): boolean {
    return this.#fromClient().sent(lower, joined(lower, this.#inbound(lower) ?? null));
  }

  #find(lower: string): number {
    const edits = this.#edits;
    for (let i = 0; i < edits.length; i += 3) if (edits[i] === lower) return i;
    return -1;
  }

  #put(lower: string, name: string, edit: Edit): void {
    const at = this.#find(lower);
    if (at === -1) {
      this.#edits.push(lower, name, edit);
    } else {
      this.#edits[at + 1] = name;
      this.#edits[at + 2] = edit;
    }
  }
}

setByMethod(HeaderOverlay);

function joined(lower: string, edit: Edit): string | undefined {
  if (edit === null) return undefined;
  return typeof edit === 'string' ? edit : edit.join(separator(lower));
}

/** What Node puts between the lines of one name. */
function separator(lower: string): string {
  return lower === 'cookie' ? '; ' : ', ';
}
