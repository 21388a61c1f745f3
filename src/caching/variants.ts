import type { HeaderList } from '../exchange/header-list.js';
import type { HeaderOverlay } from '../exchange/header-overlay.js';

/** The fields of a request that its answer depends on, as `Vary` says, and what they were. */
export type Variant = readonly (readonly [name: string, value: string | undefined])[];

/** What of a request its answer depends on; `undefined` when that is more than fields. */
export function variantOf(answer: HeaderList, headers: HeaderOverlay): Variant | undefined {
  const names = new Set(
    (answer.get('vary') ?? '').split(',').map((name) => name.trim().toLowerCase()),
  );
  if (names.has('*')) return undefined;
  // It is easily forgotten, and who cannot read a coding can do nothing with it.
  if (answer.has('content-encoding')) names.add('accept-encoding');
  names.delete('');
  return [...names].map((name) => [name, headers.get(name)]);
}

/** Whether a request is one of this variant. */
export function fits(variant: Variant, headers: HeaderOverlay): boolean {
  return variant.every(([name, value]) => headers.get(name) === value);
}
