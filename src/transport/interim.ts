import { type ServerResponse, STATUS_CODES } from 'node:http';

/** A stream of HTTP/2's compatibility API, as far as interim responses need it. */
interface Http2Stream {
  additionalHeaders(headers: Record<string, string | number>): void;
}

/**
 * Passes an interim response (103 Early Hints and its kin) on. Node's own methods know three of them
 * and only some fields, so HTTP/1.1 gets its bytes; HTTP/1.0 knows no interim responses.
 */
export function sendInterim(res: ServerResponse, status: number, lines: readonly string[]): void {
  if (res.headersSent || res.destroyed) return;
  const { stream } = res as ServerResponse & { stream?: Http2Stream };
  if (stream !== undefined) {
    const fields: Record<string, string | number> = { ':status': status };
    for (let i = 0; i < lines.length; i += 2) {
      fields[(lines[i] as string).toLowerCase()] = lines[i + 1] as string;
    }
    stream.additionalHeaders(fields);
    return;
  }
  // Without a socket, the answer to an earlier request of the pipeline is still being written.
  if (res.req.httpVersionMinor === 0 || res.socket === null) return;
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Interim'}\r\n`;
  for (let i = 0; i < lines.length; i += 2) head += `${lines[i]}: ${lines[i + 1]}\r\n`;
  res.socket.write(`${head}\r\n`, 'latin1');
}
