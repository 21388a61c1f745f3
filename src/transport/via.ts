import { LoopError } from '../exchange/errors.js';
import type { Exchange } from '../exchange/exchange.js';
import { inspect } from '../options.js';

/** `received-by` of RFC 9110, 7.6.3: a pseudonym, or a host with a port. */
const PSEUDONYM = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+(?::\d+)?$/;

/** Our name in `Via`, which a request that comes back is known by. */
export class Via {
  readonly #name: string;
  readonly #own: RegExp;

  /** @throws TypeError that names `path` when the name cannot stand in `Via`. */
  constructor(path: string, name: string) {
    if (typeof name !== 'string' || !PSEUDONYM.test(name)) {
      throw new TypeError(`${path} must be a name for Via, or false, received ${inspect(name)}`);
    }
    this.#name = name;
    const escaped = name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    this.#own = new RegExp(`(?:^|,)[ \\t]*[^\\s,]+[ \\t]+${escaped}[ \\t]*(?:$|[,(])`, 'i');
  }

  /**
   * Adds our name to what the request says it has passed.
   *
   * @throws LoopError when we are among that.
   */
  sign({ req, headers }: Exchange): void {
    const before = req.headers.via;
    if (before !== undefined && this.#own.test(before)) throw new LoopError();
    const version = req.httpVersionMajor === 2 ? '2' : req.httpVersion;
    const entry = `${version} ${this.#name}`;
    headers.write('via', 'Via', before ? `${before}, ${entry}` : entry);
  }
}
