/** A set that is also there as an array, which is another one whenever the set has changed. */
export class ListedSet<T> {
  readonly #members = new Set<T>();
  #list: readonly T[] | undefined = undefined;

  get size(): number {
    return this.#members.size;
  }

  get list(): readonly T[] {
    this.#list ??= [...this.#members];
    return this.#list;
  }

  add(one: T): void {
    this.#members.add(one);
    this.#list = undefined;
  }

  /** Whether it was one of them. */
  delete(one: T): boolean {
    const was = this.#members.delete(one);
    if (was) this.#list = undefined;
    return was;
  }
}
