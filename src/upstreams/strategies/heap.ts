/** What lies in a heap and knows its place there. */
export interface HeapItem {
  slot: number;
}

/** A binary heap whose items can change their rank where they lie. */
export class Heap<T extends HeapItem> {
  readonly #items: T[];
  readonly #before: (a: T, b: T) => boolean;

  constructor(items: readonly T[], before: (a: T, b: T) => boolean) {
    this.#items = [...items];
    this.#before = before;
    for (let i = 0; i < items.length; i++) this.#put(items[i] as T, i);
    for (let i = (items.length >> 1) - 1; i >= 0; i--) this.#sink(this.#items[i] as T);
  }

  /** The item that comes before all others. */
  get top(): T | undefined {
    return this.#items[0];
  }

  /** Moves an item whose rank has changed to where it belongs. */
  moved(item: T): void {
    this.#rise(item);
    this.#sink(item);
  }

  #rise(item: T): void {
    while (item.slot > 0) {
      const above = this.#items[(item.slot - 1) >> 1] as T;
      if (!this.#before(item, above)) return;
      this.#swap(item, above);
    }
  }

  #sink(item: T): void {
    for (;;) {
      const left = this.#items[2 * item.slot + 1];
      if (left === undefined) return;
      const right = this.#items[2 * item.slot + 2];
      const first = right !== undefined && this.#before(right, left) ? right : left;
      if (!this.#before(first, item)) return;
      this.#swap(item, first);
    }
  }

  #swap(a: T, b: T): void {
    const slot = a.slot;
    this.#put(a, b.slot);
    this.#put(b, slot);
  }

  #put(item: T, slot: number): void {
    this.#items[slot] = item;
    item.slot = slot;
  }
}
