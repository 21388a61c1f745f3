import type { ProxyError } from '../exchange/errors.js';
import type { Exchange } from '../exchange/exchange.js';
import type { UpstreamResponse } from '../exchange/upstream-response.js';
import type { Connections } from './connections.js';
import type { OutgoingRequest } from './request.js';
import type { TransportSettings } from './settings.js';

/** What is tried, and how. */
export interface Try {
  readonly exchange: Exchange;
  readonly request: OutgoingRequest;
  readonly connections: Connections;
  readonly settings: TransportSettings;
  /** What the one promise of a response is settled by, over all the tries it takes. */
  readonly resolve: (response: UpstreamResponse) => void;
  readonly reject: (error: ProxyError) => void;
  /** Whether a connection was closed under it before: this time, it gets one of its own. */
  readonly again: boolean;
}
