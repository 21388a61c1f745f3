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
  sign(exchange: Exchange): void {
    const { req, headers } = exchange;
    headers.write('via', 'Via', this.behind(exchange, req.headers.via));
  }

  /**
   * What `Via` is with our name behind `before`.
   *
   * @throws LoopError when the request has passed us before.
   */
  behind({ req }: Exchange, before: string | undefined): string {
    const { via } = req.headers;
    if (via !== undefined && this.#own.test(via)) throw new LoopError();
    const entry = `${req.httpVersionMajor === 2 ? '2' : req.httpVersion} ${this.#name}`;
    return before ? `${before}, ${entry}` : entry;
  }
}
