import type { ServerResponse } from 'node:http';

/** Of Node's own `flushHeaders()`, what does the work. */
interface Sender {
  readonly _send?: (data: string, encoding: 'latin1') => void;
}

/**
 * Sends a head before its body. Node's `flushHeaders()` writes the bytes above 0x7f that fields may have, a file's name in
 * UTF-8 for example, as two each, where a head that leaves with its body has them as they came.
 */
export function flushHead(res: ServerResponse & Sender): void {
  if (res._send !== undefined && res.headersSent) res._send('', 'latin1');
  else res.flushHeaders();
}
