import { type ServerResponse, STATUS_CODES } from 'node:http';
import { isGone, isHttp2 } from '../exchange/answers.js';
import type { Exchange } from '../exchange/exchange.js';
import { http2Lines } from './http2-lines.js';
import { interimLines, type RawFields } from './response-head.js';

/** Interim responses before one final response. */
const MAX_INTERIM = 100;

/** Passes the `count`-th interim response on, or says why the whole response is unfit. */
export function passInterim(
  { res, headers }: Exchange,
  status: number,
  raw: RawFields,
  count: number,
): string | undefined {
  // undici takes 101 without an upgrade, and whatever is no status at all, for interim ones.
  if (status === 101 || status < 100) return `status ${status}`;
  if (count > MAX_INTERIM) return 'too many interim responses';
  sendInterim(res, status, interimLines(raw, headers));
  return undefined;
}

/**
 * Passes an interim response (103 Early Hints and its kin) on. Node's own methods know three of them
 * and only some fields, so HTTP/1.1 gets its bytes; HTTP/1.0 knows no interim responses.
 */
function sendInterim(res: ServerResponse, status: number, lines: readonly string[]): void {
  if (res.headersSent || isGone(res)) return;
  if (isHttp2(res)) {
    res.stream.additionalHeaders({ ...http2Lines(lines), ':status': status });
    return;
  }
  if (res.req.httpVersionMinor === 0) return;
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Interim'}\r\n`;
  for (let i = 0; i < lines.length; i += 2) head += `${lines[i]}: ${lines[i + 1]}\r\n`;
  res.socket?.write(`${head}\r\n`, 'latin1');
}
