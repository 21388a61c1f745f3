/** What is to happen, earliest first: times and what they are for, in a binary heap. */
export class Events {
  #times = [];
  #items = [];

  get nextTime() {
    return this.#times[0] ?? Number.POSITIVE_INFINITY;
  }

  add(time, item) {
    let at = this.#times.length;
    for (; at > 0; at = (at - 1) >> 1) {
      const above = (at - 1) >> 1;
      if (this.#times[above] <= time) break;
      this.#set(at, this.#times[above], this.#items[above]);
    }
    this.#set(at, time, item);
  }

  take() {
    const first = this.#items[0];
    const time = this.#times.pop();
    const item = this.#items.pop();
    const size = this.#times.length;
    if (size === 0) return first;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= size) break;
      if (below + 1 < size && this.#times[below + 1] < this.#times[below]) below += 1;
      if (this.#times[below] >= time) break;
      this.#set(at, this.#times[below], this.#items[below]);
      at = below;
    }
    this.#set(at, time, item);
    return first;
  }

  #set(at, time, item) {
    this.#times[at] = time;
    this.#items[at] = item;
  }
}
