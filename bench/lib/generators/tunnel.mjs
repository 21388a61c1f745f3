import { once } from 'node:events';
import { connect } from 'node:net';

const PATIENCE_MS = 5000;

/** A socket to the far side through a proxy, as a WebSocket client opens it. */
export async function openTunnel({ port, path }) {
  const socket = connect(Number(port), '127.0.0.1');
  socket.setNoDelay(true);
  // One that breaks later is seen by its close.
  socket.on('error', () => {});
  socket.write(
    [
      `GET ${path} HTTP/1.1`,
      'Host: gateway',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      '\r\n',
    ].join('\r\n'),
  );
  const [head] = await once(socket, 'data', { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!head.latin1Slice().startsWith('HTTP/1.1 101 ')) {
    socket.destroy();
    throw new Error('no tunnel');
  }
  return socket;
}
