/** Gives whole numbers from 0 to {@link RANGE} - 1. V8 keeps these as they are; it allocates fractions. */
export type RandomSource = () => number;

/** How many numbers a {@link RandomSource} has. */
export const RANGE = 2 ** 31;

/**
 * The source that `random` makes, a function like `Math.random`. Without it a generator of our own
 * (mulberry32), because `Math.random` allocates each of its numbers.
 */
export function randomSource(random: (() => number) | undefined): RandomSource {
  if (random !== undefined) return () => Math.min(Math.floor(random() * RANGE), RANGE - 1);
  let state = Math.floor(Math.random() * RANGE);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 1;
  };
}

/** A whole number below `count`. */
export function indexBelow(count: number, source: RandomSource): number {
  return Math.floor((source() / RANGE) * count);
}
