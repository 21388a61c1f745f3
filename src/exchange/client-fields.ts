import { fieldInfo } from './fields.js';

/** One field as the client sent it. */
interface ClientField {
  /** The name as it was first written. */
  readonly spelling: string;
  readonly lines: string[];
}

/**
 * What the client sent, by lower-case name. Most requests never need it; one that does, with a thousand
 * fields that nominate each other, must not cost a search for each of them.
 */
export class ClientFields {
  readonly #fields = new Map<string, ClientField>();

  constructor(rawHeaders: readonly string[]) {
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const spelling = rawHeaders[i] as string;
      const line = rawHeaders[i + 1] as string;
      const { lower } = fieldInfo(spelling);
      const field = this.#fields.get(lower);
      if (field === undefined) this.#fields.set(lower, { spelling, lines: [line] });
      else field.lines.push(line);
    }
  }

  /** How the client spells a name; as it is asked for when the client did not send it. */
  spelling(lower: string): string {
    return this.#fields.get(lower)?.spelling ?? lower;
  }

  /** Whether a live value is still just what the client sent. */
  sent(lower: string, live: string | undefined): boolean {
    const lines = this.#fields.get(lower)?.lines;
    if (lines === undefined) return false;
    // Node drops repeats of some fields, and joins cookies with a semicolon.
    return live === lines[0] || live === lines.join(', ') || live === lines.join('; ');
  }
}
