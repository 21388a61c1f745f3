import type { Socket } from 'node:net';

/** A client's connection that can leave HTTP behind: `attach()` hands one on with each upgrade and CONNECT. */
export interface ClientEnd {
  /**
   * Gives the connection away, for good and once; what came early is the first to be read from it.
   * When it closes, the answer closes as well. `undefined` when it has closed already.
   */
  take(): Socket | undefined;
}
