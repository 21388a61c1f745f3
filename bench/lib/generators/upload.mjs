// Bodies of many MiB. What was begun in time is sent to its end, so that everything that was sent is counted.
import { once } from 'node:events';
import { connect } from 'node:net';
import { generate } from './generator.mjs';
import { ResponseReader } from './response-reader.mjs';

const MIB = Buffer.alloc(1024 * 1024, 'x');
const STALLED_MS = 10_000;

async function work({ url, connections, seconds, settings: { bodyMiB } }) {
  const until = performance.now() + seconds * 1000;
  const counted = { amount: 0, badStatus: 0, socketErrors: 0 };
  const client = async () => {
    const connection = new Connection(url, bodyMiB);
    while (performance.now() < until) {
      const status = await connection.post();
      if (status === 200) counted.amount += bodyMiB;
      else counted.badStatus++;
    }
    connection.socket.destroy();
  };
  const failed = () => counted.socketErrors++;
  await Promise.all(Array.from({ length: connections }, () => client().catch(failed)));
  return counted;
}

class Connection {
  #reader = new ResponseReader();

  constructor(url, bodyMiB) {
    const { hostname, port, pathname, host } = new URL(url);
    this.bodyMiB = bodyMiB;
    this.head = `POST ${pathname} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${bodyMiB * MIB.length}\r\n\r\n`;
    this.socket = connect(Number(port), hostname);
  }

  /** The status of the answer. */
  async post() {
    const signal = AbortSignal.timeout(STALLED_MS + this.bodyMiB * 200);
    const answered = this.#answer(signal);
    // Handled here while the body is still being written.
    answered.catch(() => {});
    this.socket.write(this.head);
    for (let i = 0; i < this.bodyMiB; i++) {
      if (!this.socket.write(MIB)) await once(this.socket, 'drain', { signal });
    }
    return answered;
  }

  async #answer(signal) {
    for (;;) {
      const [chunk] = await once(this.socket, 'data', { signal });
      const status = this.#reader.push(chunk);
      if (status !== undefined) return status;
    }
  }
}

await generate({ work });
