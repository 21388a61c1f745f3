import type { IncomingMessage, ServerResponse } from 'node:http';
import { isHttp2 } from '../exchange/answers.js';
import { distrustConnection } from '../exchange/distrust.js';
import { hasTurn, onTurn } from '../exchange/queued-answers.js';

/** Node takes any value that has the word in it, and any number of lines. */
export function isPlainExpectation(req: IncomingMessage): boolean {
  return req.headers.expect?.toLowerCase() === '100-continue';
}

/** RFC 9110, 10.1.1: an expectation that cannot be met is 417. */
export function refuseExpectation(req: IncomingMessage, res: ServerResponse): void {
  distrustConnection(req);
  if (!isHttp2(res)) res.setHeader('Connection', 'close');
  res.writeHead(417, { 'Content-Length': 0 }).end();
}

/**
 * Sends the 100 at the first read of the body, whoever reads. `_read` is where a stream's consumer
 * arrives in the end, be it `express.json()`, a pipe or `proxyPass()`.
 */
export function continueOnRead(req: IncomingMessage, res: ServerResponse): void {
  req._read = function readAfterContinue(size: number): void {
    Reflect.deleteProperty(req, '_read');
    // After a final answer, the read only drains what the client sends regardless.
    if (!res.headersSent) {
      if (isDrain(req)) return endUnread(req, res);
      sendContinue(res);
    }
    req._read(size);
  };
}

/**
 * While an earlier answer of the pipeline is being written, Node would keep the 100 and put the head of this one before
 * it. The turn of this answer may come with its head, and then it is too late for a 100.
 */
function sendContinue(res: ServerResponse): void {
  if (hasTurn(res)) return res.writeContinue();
  onTurn(res, () => {
    if (!res.headersSent) res.writeContinue();
  });
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
  // HTTP/2 has streams, of which this one is over, and works `complete` out by itself.
  if (!isHttp2(req)) {
    res.shouldKeepAlive = false;
    req.complete = true;
  }
  req.push(null);
}
