/** A moment of a monotonic clock, told by the clock on the wall. */
export class ClockTime {
  #moment = Number.NaN;
  #text = '';

  /** Worked out once for each moment, so that it does not waver with every look at the two clocks. */
  of(moment: number): string {
    if (moment !== this.#moment) {
      this.#moment = moment;
      const age = performance.now() - moment;
      this.#text = new Date(Date.now() - (Number.isFinite(age) ? age : 0)).toISOString();
    }
    return this.#text;
  }
}
