/** The latest values of one series, oldest first; as many as it has room for. */
export class History {
  readonly #values: Float32Array;
  #count = 0;

  constructor(points: number) {
    this.#values = new Float32Array(points);
  }

  /** Adds a value, `times` over where it stands for more than one step. `null` is a gap. */
  push(value: number | null, times = 1): void {
    const { length } = this.#values;
    for (let i = Math.min(times, length); i > 0; i--) {
      this.#values[this.#count++ % length] = value ?? Number.NaN;
    }
  }

  toJSON(): (number | null)[] {
    const { length } = this.#values;
    const kept = Math.min(this.#count, length);
    return Array.from({ length: kept }, (_, i) => {
      const value = this.#values[(this.#count - kept + i) % length] as number;
      return Number.isNaN(value) ? null : short(value);
    });
  }
}

/** A number in as few digits as a chart can show. */
export function short(value: number): number {
  return value >= 1_000 ? Math.round(value) : Number(value.toPrecision(3));
}
