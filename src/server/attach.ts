import { IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import { callable, inspect } from '../options.js';
import { Drain } from './drain.js';

/** What a server calls with a request: an Express or Connect app, or a plain listener. */
export type App = (req: IncomingMessage, res: ServerResponse) => void;

/** An attached app. */
export interface Attached {
  /**
   * Takes no new connections, closes idle ones, lets answers in flight finish with `Connection: close`,
   * and resolves when all has ended.
   */
  close(): Promise<void>;
}

/**
 * Sends the server events that Express never sees through the app: here, requests that wait for
 * `100 Continue`. They get it when something in the pipeline begins to read the body, and not before:
 * a request that is refused gets its 4xx alone.
 *
 * @example
 * const server = createServer(app).listen(8080);
 * const attached = attach(server, app);
 * process.once('SIGTERM', () => attached.close());
 */
export function attach(server: Server | TlsServer, app: App): Attached {
  if (typeof server !== 'object' || server === null || typeof server.on !== 'function') {
    throw new TypeError(
      `attach: server must be an http or https server, received ${inspect(server)}`,
    );
  }
  if ('insecureHTTPParser' in server && server.insecureHTTPParser === true) {
    throw new TypeError(
      'attach: server has insecureHTTPParser, which lets smuggled requests through',
    );
  }
  callable('attach: app', app);

  const drain = new Drain(server);
  const onContinue = (req: IncomingMessage, res: ServerResponse): void => {
    drain.onRequest(req, res);
    if (!isPlainExpectation(req)) return refuseExpectation(req, res);
    continueOnRead(req, res);
    app(req, res);
  };
  server.on('checkContinue', onContinue);
  server.on('checkExpectation', refuseExpectation);

  const close = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => {
      // A server that never listened, or is closed already, says so: that is what we wanted.
      server.close(() => resolve());
    });
    drain.begin();
    await closed;
    drain.end();
    server.off('checkContinue', onContinue);
    server.off('checkExpectation', refuseExpectation);
  };
  let closing: Promise<void> | undefined;
  return {
    close() {
      closing ??= close();
      return closing;
    },
  };
}

/** Node takes any value that has the word in it, and any number of lines. */
function isPlainExpectation(req: IncomingMessage): boolean {
  return req.headers.expect?.toLowerCase() === '100-continue';
}

/** RFC 9110, 10.1.1: an expectation that cannot be met is 417. */
function refuseExpectation(_req: IncomingMessage, res: ServerResponse): void {
  res.writeHead(417, { Connection: 'close', 'Content-Length': 0 }).end();
}

/**
 * Sends the 100 at the first read of the body, whoever reads. `_read` is where a stream's consumer
 * arrives in the end, be it `express.json()`, a pipe or `proxyPass()`.
 */
function continueOnRead(req: IncomingMessage, res: ServerResponse): void {
  req._read = function readAfterContinue(size: number): void {
    req._read = IncomingMessage.prototype._read;
    // After a final answer, the read only drains what the client sends regardless.
    if (!res.headersSent) {
      if (isDrain(req)) return endUnread(req, res);
      res.writeContinue();
    }
    req._read(size);
  };
}

/** Whether a request is read for nobody, as `resume()` does to get rid of a body. */
function isDrain(req: IncomingMessage): boolean {
  return req.readableFlowing === true && req.listenerCount('data') === 0;
}

/**
 * Express' default error handler, as body parsers do, drains a request before it lets the error out.
 * The client has sent nothing and is not asked to, so the request is over as it is. What it sends all
 * the same could be anything (RFC 9110, 10.1.1): the connection closes behind the answer.
 */
function endUnread(req: IncomingMessage, res: ServerResponse): void {
  res.shouldKeepAlive = false;
  req.complete = true;
  req.push(null);
}
