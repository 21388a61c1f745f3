import { warnOfThrown } from '../warnings.js';

/** Who has to know at once how busy an upstream is: a strategy that goes by load. */
export interface LoadWatcher {
  /** `inFlight` has changed by so many. */
  loadChanged(change: number): void;
}

/** Tells a watcher that `inFlight` has changed. What it throws must keep no request from its end. */
export function tellLoad(watcher: LoadWatcher | undefined, change: number): void {
  try {
    watcher?.loadChanged(change);
  } catch (error) {
    warnOfThrown('loadChanged() of a watcher threw', error);
  }
}
