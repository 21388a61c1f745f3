import type { Exchange } from '../exchange/exchange.js';

/** Fields that a TRACE must not show to whoever can make a browser send one. */
const SECRETS = ['authorization', 'cookie', 'proxy-authorization'];

/**
 * Counts `Max-Forwards` down on OPTIONS and TRACE (RFC 9110, 7.6.2). At zero we are the last
 * recipient: the request is answered here, and `true` comes back.
 */
export function countForwards({ req, res, headers, method }: Exchange): boolean {
  const field = req.headers['max-forwards'];
  if (field === undefined || (method !== 'OPTIONS' && method !== 'TRACE')) return false;
  if (typeof field !== 'string' || !/^\d{1,10}$/.test(field)) return false;
  const left = Number(field);
  if (left > 0) {
    headers.write('max-forwards', 'Max-Forwards', String(left - 1));
    return false;
  }
  const echo = method === 'TRACE' ? echoOf(req.method, req.url, req.rawHeaders) : '';
  res.statusCode = 200;
  if (method === 'TRACE') res.setHeader('Content-Type', 'message/http');
  res.setHeader('Content-Length', Buffer.byteLength(echo, 'latin1'));
  res.end(echo, 'latin1');
  return true;
}

function echoOf(method = '', url = '', rawHeaders: readonly string[]): string {
  let text = `${method} ${url} HTTP/1.1\r\n`;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (!SECRETS.includes(name.toLowerCase())) text += `${name}: ${rawHeaders[i + 1]}\r\n`;
  }
  return `${text}\r\n`;
}
