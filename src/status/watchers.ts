import type { IncomingMessage, ServerResponse } from 'node:http';

/** Most pages that can be open at once. */
const MOST = 100;

/** How many frames a page may leave unread in a row. One comes each second. */
const PATIENCE = 30;

interface Watcher {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** Frames that were not even written because the page had not read what was. */
  missed: number;
  /** Whether there is still something that it has not read. */
  full: boolean;
}

/** The pages that are open, as streams of server-sent events. What one of them leaves unread is bounded. */
export class Watchers {
  readonly #all = new Set<Watcher>();
  #closed = false;

  /** Whether there is room for one more. */
  get hasRoom(): boolean {
    return !this.#closed && this.#all.size < MOST;
  }

  /** Begins a stream with a snapshot. The head is the caller's to write. */
  add(req: IncomingMessage, res: ServerResponse, snapshot: string): void {
    const watcher: Watcher = { req, res, missed: 0, full: false };
    this.#all.add(watcher);
    res.on('close', () => this.#all.delete(watcher));
    res.on('drain', () => {
      watcher.full = false;
    });
    // A client that goes away while something is written to it.
    res.on('error', () => {});
    write(watcher, 'snapshot', snapshot);
  }

  /** Tells all of them. One that has missed frames gets a snapshot once it reads again. */
  tell(frame: () => string, snapshot: () => string): void {
    if (this.#all.size === 0) return;
    const latest = frame();
    let whole: string | undefined;
    for (const watcher of this.#all) {
      if (isClosing(watcher.req)) {
        watcher.res.end();
      } else if (watcher.full) {
        watcher.missed += 1;
        if (watcher.missed >= PATIENCE) watcher.res.destroy();
      } else if (watcher.missed > 0) {
        watcher.missed = 0;
        whole ??= snapshot();
        write(watcher, 'snapshot', whole);
      } else {
        write(watcher, 'frame', latest);
      }
    }
  }

  /** Ends all streams, and takes no more. */
  close(): void {
    this.#closed = true;
    for (const { res } of this.#all) res.end();
  }
}

function write(watcher: Watcher, event: 'snapshot' | 'frame', data: string): void {
  watcher.full = !watcher.res.write(`event: ${event}\ndata: ${data}\n\n`);
}

/** Whether the server takes no more connections: it waits for this stream to end. */
function isClosing({ socket }: IncomingMessage): boolean {
  const { server } = socket as { server?: { listening?: boolean } };
  return server?.listening === false;
}
