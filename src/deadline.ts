/** Calls back when a time is over, but for what has come while the process was busy. */
export class Deadline {
  readonly #timer: NodeJS.Timeout;
  #afterIo: NodeJS.Immediate | undefined = undefined;

  constructor(ms: number, over: () => void) {
    this.#timer = setTimeout(() => {
      this.#afterIo = setImmediate(over);
    }, ms);
    this.#timer.unref();
  }

  /** The time begins anew. */
  refresh(): void {
    clearImmediate(this.#afterIo);
    this.#timer.refresh();
  }

  /** It has been kept. */
  end(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#afterIo);
  }
}
