/** How many there are before it is looked for those that are gone. */
const FIRST_LOOK = 16;

/** A list that keeps nothing alive. */
export class WeakList<T extends object> {
  #refs: WeakRef<T>[] = [];
  #lookAt = FIRST_LOOK;

  add(one: T): void {
    if (this.#refs.length >= this.#lookAt) {
      this.#refs = this.#refs.filter((ref) => ref.deref() !== undefined);
      this.#lookAt = Math.max(FIRST_LOOK, 2 * this.#refs.length);
    }
    this.#refs.push(new WeakRef(one));
  }

  /** Those that are still there. */
  *[Symbol.iterator](): Iterator<T> {
    for (const ref of this.#refs) {
      const one = ref.deref();
      if (one !== undefined) yield one;
    }
  }
}
