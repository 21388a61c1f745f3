import type { IncomingMessage, ServerResponse } from 'node:http';
import type { UpstreamPool } from '../upstreams/pool.js';
import { Operator } from './operator.js';
import { page, setCommonFields } from './page.js';
import { isSameOrigin } from './same-origin.js';
import { Sampler } from './sampler.js';
import { Watchers } from './watchers.js';

/** Answers what is asked of a status page. */
export class Desk {
  readonly #sampler: Sampler;
  readonly #operator: Operator;
  readonly #watchers = new Watchers();
  readonly #snapshot = () => this.#sampler.snapshot();

  constructor(title: string, pools: Readonly<Record<string, UpstreamPool>>) {
    this.#sampler = new Sampler(title, pools);
    this.#operator = new Operator(pools);
    const frame = () => this.#sampler.frame();
    this.#sampler.start(() => this.#watchers.tell(frame, this.#snapshot));
  }

  /** The page, with buttons or without, or what it shows: as JSON, or as a stream of events. */
  show(req: IncomingMessage, res: ServerResponse, format: string | null, mayAct: () => boolean) {
    if (format === 'json') send(req, res, 200, 'application/json', this.#snapshot());
    else if (format === 'events') this.#stream(req, res);
    else send(req, res, 200, 'text/html', page(res, mayAct()));
  }

  /** Does what a button of the page asks for. */
  act(req: IncomingMessage, res: ServerResponse, asked: URLSearchParams): void {
    if (!isSameOrigin(req)) return refuse(req, res, 403, 'This did not come from the page');
    const objection = this.#operator.act(asked);
    if (objection !== undefined) return refuse(req, res, ...objection);
    setCommonFields(res);
    res.statusCode = 204;
    res.end();
  }

  close(): void {
    this.#sampler.stop();
    this.#operator.close();
    this.#watchers.close();
  }

  #stream(req: IncomingMessage, res: ServerResponse): void {
    if (!this.#watchers.hasRoom) {
      res.setHeader('Retry-After', '5');
      return refuse(req, res, 503, 'Too many pages are open');
    }
    setCommonFields(res);
    res.statusCode = 200;
    res.setHeader('Content-Type', 'text/event-stream');
    // The stream ends when somebody waits for that, and the connection has to end with it.
    res.shouldKeepAlive = false;
    // nginx would keep events back until it has enough of them.
    res.setHeader('X-Accel-Buffering', 'no');
    if (req.method === 'HEAD') res.end();
    else this.#watchers.add(req, res, this.#snapshot());
  }
}

/** Answers that something is not done, and why. */
export function refuse(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  detail: string,
): void {
  send(req, res, status, 'application/json', JSON.stringify({ status, detail }));
}

function send(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  type: string,
  text: string,
): void {
  setCommonFields(res);
  res.statusCode = status;
  res.setHeader('Content-Type', `${type}; charset=utf-8`);
  res.setHeader('Content-Length', Buffer.byteLength(text));
  res.end(req.method === 'HEAD' ? undefined : text);
}
