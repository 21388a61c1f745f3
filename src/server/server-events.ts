import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { exchangeOf } from '../exchange/exchange.js';
import { offeredProtocols } from '../exchange/upgrade-protocols.js';
import { ignore } from '../ignore.js';
import { saidYes } from '../options.js';
import { routeAsRoot } from './authority-form.js';
import { endBehindAnswers } from './client-error.js';
import { type AnyServer, Drain } from './drain.js';
import { continueOnRead, isPlainExpectation, refuseExpectation } from './expectation.js';
import { Handover, refuse, takeOver } from './handover.js';

/** What a server calls with a request: an Express or Connect app, or a plain listener. */
export type App = (req: IncomingMessage, res: ServerResponse) => void;

/** An app, and which upgrades are for it. */
export interface AttachedApp {
  readonly app: App;
  readonly upgrades: ((req: IncomingMessage) => boolean) | undefined;
}

/** The key is the same for the ESM and the CommonJS copy of this package, which may meet at one server. */
const EVENTS = Symbol.for('headrace.server-events');

type KnownServer = AnyServer & { [EVENTS]?: ServerEvents | undefined };

/** The events of one server that an app never sees, and who gets them: one listener for each of them. */
export class ServerEvents {
  readonly #server: KnownServer;
  readonly #apps: AttachedApp[] = [];
  readonly #drain: Drain;
  #closed: Promise<void> | undefined = undefined;

  /** Those of a server; made when it is first asked for. */
  static of(server: KnownServer): ServerEvents {
    server[EVENTS] ??= new ServerEvents(server);
    return server[EVENTS];
  }

  private constructor(server: KnownServer) {
    this.#server = server;
    this.#drain = new Drain(server);
    const events = server as Server;
    events.on('clientError', endBehindAnswers);
    events.on('checkContinue', this.#onContinue);
    events.on('checkExpectation', refuseExpectation);
    events.on('upgrade', this.#onUpgrade);
    events.on('connect', this.#onConnect);
  }

  /** Adds an app. What has no say in who gets it goes to the first one. */
  add(app: AttachedApp): void {
    this.#apps.push(app);
  }

  /** Takes no new connections, and lets go of the server when the last one has ended. */
  close(drainMs: number): Promise<void> {
    this.#closed ??= this.#close(drainMs);
    return this.#closed;
  }

  async #close(drainMs: number): Promise<void> {
    const server = this.#server;
    const closed = new Promise<void>((resolve) => {
      // A server that never listened, or is closed already, says so: that is what we wanted.
      closeDoor(server, () => resolve());
    });
    await Promise.all([closed, this.#drain.begin(drainMs)]);
    this.#drain.end();
    const events = server as Server;
    events.off('clientError', endBehindAnswers);
    events.off('checkContinue', this.#onContinue);
    events.off('checkExpectation', refuseExpectation);
    events.off('upgrade', this.#onUpgrade);
    events.off('connect', this.#onConnect);
    delete server[EVENTS];
  }

  readonly #onContinue = (req: IncomingMessage, res: ServerResponse): void => {
    this.#drain.onRequest(req, res);
    if (!isPlainExpectation(req)) return refuseExpectation(req, res);
    continueOnRead(req, res);
    this.#apps[0]?.app(req, res);
  };

  readonly #onConnect = (
    req: IncomingMessage,
    stream: Duplex | ServerResponse,
    head: Buffer,
  ): void => {
    // Over HTTP/2 this is a stream like any other, and what comes with it an answer.
    if ('writeHead' in stream) return refuseConnect(stream);
    this.#hand(this.#apps[0], req, stream, head);
  };

  readonly #onUpgrade = (req: IncomingMessage, stream: Duplex, head: Buffer): void => {
    let taker: AttachedApp | undefined;
    try {
      taker = this.#apps.find(({ upgrades }) => {
        return upgrades === undefined || saidYes('attach: upgrades()', upgrades(req));
      });
    } catch {
      // A function that trips over what some client sends must not take the process with it.
      takeOver(req.socket, head, () => refuse(req.socket, 500));
      return;
    }
    if (taker !== undefined) {
      this.#hand(taker, req, stream, head, offeredProtocols(req));
    } else if (this.#server.listenerCount('upgrade') === 1) {
      // Nobody else is there to take it: as without any listener, it is an ordinary request.
      this.#hand(this.#apps[0], req, stream, head);
    } else {
      this.#drain.leave(req.socket);
    }
  };

  #hand(
    taker: AttachedApp | undefined,
    req: IncomingMessage,
    stream: Duplex,
    head: Buffer,
    upgrade?: string,
  ): void {
    const { socket } = req;
    if (stream !== socket) stream.on('error', ignore);
    takeOver(socket, head, () => {
      if (!isWellFormed(req)) return refuse(socket, 400);
      if (req.method === 'CONNECT') routeAsRoot(req);
      const handover = new Handover(req, socket);
      const { res } = handover;
      this.#drain.onRequest(req, res);
      const exchange = exchangeOf(req, res);
      if (upgrade !== undefined || req.method === 'CONNECT') {
        exchange.upgrade = upgrade;
        exchange.clientEnd = handover;
      }
      taker?.app(req, res);
    });
  }
}

/** Node's `close()` ends idle connections at once, under requests that are on their way. */
function closeDoor(door: AnyServer, closed: () => void): void {
  const server = door as Server;
  server.closeIdleConnections = ignore;
  server.close(closed);
  Reflect.deleteProperty(server, 'closeIdleConnections');
}

function refuseConnect(res: ServerResponse): void {
  res.writeHead(405).end();
}

/**
 * Node looks at neither with these requests. Where one has a body, versions of Node differ on whether
 * that is part of the request or of the tunnel, and so may servers.
 */
function isWellFormed({ headers, httpVersion }: IncomingMessage): boolean {
  const length = headers['content-length'];
  if (headers['transfer-encoding'] !== undefined) return false;
  if (length !== undefined && !/^0+$/.test(length)) return false;
  return headers.host !== undefined || httpVersion === '1.0';
}
