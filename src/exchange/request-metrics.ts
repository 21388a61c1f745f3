import type { Exchange } from './exchange.js';
import type { AddSample, MetricFamily } from './exposition.js';
import type { RequestGroup } from './request-group.js';
import { type MetricLabel, RequestGroups } from './request-groups.js';

/** Counts exchanges: those that are under way, and each when it has ended. */
export class RequestMetrics {
  readonly #groups: RequestGroups;
  /** Weakly: a `Set` that gains and loses one for each request keeps dead ones alive, table after table. */
  readonly #open = new WeakSet<Exchange>();
  #openCount = 0;
  /** Those among the open ones that are tunnels, or may become one. */
  readonly #mayTunnel = new Set<Exchange>();
  readonly #whenEnded: (exchange: Exchange) => void;
  #tunnels = 0;
  #tunnelSent = 0;
  #tunnelReceived = 0;

  /** `whenEnded` is called for each exchange that has been counted. */
  constructor(
    bounds: Float64Array,
    labels: Readonly<Record<string, MetricLabel>>,
    whenEnded: (exchange: Exchange) => void,
  ) {
    this.#groups = new RequestGroups(bounds, labels);
    this.#whenEnded = whenEnded;
  }

  /** Follows an exchange to its end. However often it comes by, it is open once, and so ends once. */
  follow(exchange: Exchange): void {
    if (this.#open.has(exchange)) return;
    this.#open.add(exchange);
    this.#openCount += 1;
    if (exchange.clientEnd !== undefined) this.#mayTunnel.add(exchange);
    exchange.onOutcome(this.#ended);
  }

  /** Leaves an exchange out. False when it was not followed, or is no longer. */
  leaveOut(exchange: Exchange): boolean {
    if (!this.#open.delete(exchange)) return false;
    this.#openCount -= 1;
    this.#mayTunnel.delete(exchange);
    return true;
  }

  /** What it has counted. */
  get families(): MetricFamily[] {
    return [...this.#ofGroups(), ...this.#ofOpenOnes()];
  }

  readonly #ended = (exchange: Exchange): void => {
    if (!this.leaveOut(exchange)) return;
    this.#groups.of(exchange).count(exchange);
    if (exchange.isTunnel) {
      this.#tunnels += 1;
      this.#tunnelSent += exchange.bytesSent;
      this.#tunnelReceived += exchange.bytesReceived;
    }
    this.#whenEnded(exchange);
  };

  #ofGroups(): MetricFamily[] {
    const { labels } = this.#groups;
    const each = (collect: (group: RequestGroup, add: AddSample) => void) => (add: AddSample) => {
      for (const group of this.#groups) collect(group, add);
    };
    const counter = (name: string, help: string, read: (group: RequestGroup) => number) =>
      ({
        name: `headrace_${name}_total`,
        help,
        type: 'counter',
        labels,
        collect: each((group, add) => add(read(group), group.labels)),
      }) as const;
    return [
      {
        name: 'headrace_requests_total',
        help: 'Requests that have ended, tunnels among them.',
        type: 'counter',
        labels: [...labels, 'status', 'outcome'],
        collect: each((group, add) => {
          for (const count of group.requests) add(count.value, count.labels);
        }),
      },
      {
        name: 'headrace_request_failures_total',
        help: 'Requests that went wrong, by the code of the error; also where a fallback made up for it.',
        type: 'counter',
        labels: [...labels, 'code'],
        collect: each((group, add) => {
          for (const count of group.failures) add(count.value, count.labels);
        }),
      },
      {
        name: 'headrace_request_duration_seconds',
        help: 'From the beginning of a request to the end of its answer, without tunnels.',
        type: 'histogram',
        labels,
        collect: each((group, add) => group.duration.collect(add, group.labels)),
      },
      {
        name: 'headrace_request_time_to_head_seconds',
        help: 'From the beginning of a request to the head of the response of its upstream.',
        type: 'histogram',
        labels,
        collect: each((group, add) => group.timeToHead.collect(add, group.labels)),
      },
      counter('request_body_bytes', 'Body bytes that went to upstreams.', ({ sent }) => sent),
      counter(
        'response_body_bytes',
        'Body bytes that came from upstreams.',
        ({ received }) => received,
      ),
      counter('retries', 'Tries after the first one of a request.', ({ retries }) => retries),
      counter(
        'retries_refused',
        'Requests that were not tried again because the budget had nothing left.',
        ({ retriesRefused }) => retriesRefused,
      ),
      counter(
        'degraded',
        'Requests that a fallback has answered in place of an error.',
        ({ degraded }) => degraded,
      ),
    ];
  }

  #ofOpenOnes(): MetricFamily[] {
    return [
      {
        name: 'headrace_requests_in_flight',
        help: 'Requests that have not ended, without tunnels.',
        type: 'gauge',
        labels: [],
        collect: (add) => add(this.#openCount - this.#openTunnels().length),
      },
      {
        name: 'headrace_tunnels_open',
        help: 'Tunnels that are open: upgrades and CONNECT.',
        type: 'gauge',
        labels: [],
        collect: (add) => add(this.#openTunnels().length),
      },
      {
        name: 'headrace_tunnels_total',
        help: 'Tunnels that have been opened.',
        type: 'counter',
        labels: [],
        collect: (add) => add(this.#tunnels + this.#openTunnels().length),
      },
      {
        name: 'headrace_tunnel_bytes_total',
        help: 'Bytes that have passed through tunnels, those that are still open among them.',
        type: 'counter',
        labels: ['direction'],
        collect: (add) => {
          let sent = this.#tunnelSent;
          let received = this.#tunnelReceived;
          for (const { bytesSent, bytesReceived } of this.#openTunnels()) {
            sent += bytesSent;
            received += bytesReceived;
          }
          add(sent, { direction: 'sent' });
          add(received, { direction: 'received' });
        },
      },
    ];
  }

  #openTunnels(): Exchange[] {
    return [...this.#mayTunnel].filter(({ isTunnel }) => isTunnel);
  }
}
