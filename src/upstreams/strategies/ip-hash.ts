import { known, type NoOptions } from '../../options.js';
import type { Strategy } from '../strategy.js';
import { consistentHash } from './consistent-hash.js';

/**
 * Keeps a client on one upstream, by its address: {@link consistentHash} as it comes. Behind a proxy,
 * set Express' `trust proxy`, or all clients are one.
 */
export function ipHash(options: NoOptions = {}): Strategy {
  known('ipHash', options, []);
  return consistentHash({ key: 'address' });
}
