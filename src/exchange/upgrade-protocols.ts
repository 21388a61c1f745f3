import type { IncomingMessage } from 'node:http';

const PROTOCOL = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:\/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?$/;

/** Protocols that carry requests: what comes after the switch would go past every middleware. */
const CARRIES_HTTP = /^(?:h2c?|http|tls)(?:\/|$)/i;

/**
 * The protocols that a client offers to switch to and that a tunnel can be made for, each once; what
 * is left of `Upgrade: websocket, h2c` is `websocket`. RFC 9110, 7.8: in HTTP/1.0 the field means nothing.
 */
export function offeredProtocols({ headers, httpVersion }: IncomingMessage): string | undefined {
  if (headers.upgrade === undefined || httpVersion !== '1.1') return undefined;
  const offered: string[] = [];
  for (const protocol of protocolsOf(headers.upgrade)) {
    if (!PROTOCOL.test(protocol) || CARRIES_HTTP.test(protocol)) continue;
    if (!isAmong(offered, protocol)) offered.push(protocol);
  }
  return offered.length === 0 ? undefined : offered.join(', ');
}

/** Whether the protocol that a server has switched to is one of those that it was offered. */
export function wasOffered(offered: string, chosen: string | undefined): boolean {
  return (
    chosen !== undefined &&
    protocolsOf(chosen).every((protocol) => isAmong(protocolsOf(offered), protocol))
  );
}

function protocolsOf(field: string): string[] {
  return field.split(',').map((protocol) => protocol.trim());
}

/** RFC 9110, 7.8: names of protocols are alike in any case. */
function isAmong(protocols: readonly string[], protocol: string): boolean {
  const lower = protocol.toLowerCase();
  return protocols.some((one) => one.toLowerCase() === lower);
}
