import { type FSWatcher, watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { inspect, known, milliseconds } from '../../options.js';
import type { UpstreamInit } from '../upstream.js';
import type { Discovery } from './discovery.js';

/** Options for {@link fromFile}. */
export interface FromFileOptions {
  /**
   * How long a changed file is left alone before it is read, in milliseconds: whoever writes it may
   * not have finished.
   *
   * @default 50
   */
  readonly debounceMs?: number | undefined;
  /**
   * How often the file is looked at even when nothing tells of a change, in milliseconds: not every
   * file system does.
   *
   * @default 10_000
   */
  readonly intervalMs?: number | undefined;
}

/** {@link FromFileOptions}, checked and complete. */
interface Settings {
  readonly debounceMs: number;
  readonly intervalMs: number;
}

/**
 * Takes upstreams from a file, and again whenever it changes: a JSON array of URLs and of objects
 * `{ url, weight, priority, transport }`. Without a file, or with one that is no such list, the
 * upstreams stay as they are and the pool tells `discoveryError`.
 *
 * @example
 * loadBalancer({ upstreams: fromFile('/etc/gateway/upstreams.json') });
 */
export function fromFile(path: string | URL, options: FromFileOptions = {}): Discovery {
  if ((typeof path !== 'string' && !(path instanceof URL)) || path === '') {
    throw new TypeError(`fromFile: path must be a path of a file, received ${inspect(path)}`);
  }
  if (path instanceof URL && path.protocol !== 'file:') {
    throw new TypeError(`fromFile: path must be a file: URL, received ${inspect(path)}`);
  }
  const { debounceMs = 50, intervalMs = 10_000 } = known('fromFile', options, [
    'debounceMs',
    'intervalMs',
  ]);
  milliseconds('fromFile: debounceMs', debounceMs, 0);
  milliseconds('fromFile: intervalMs', intervalMs);
  // The working directory may change later.
  const file = resolve(path instanceof URL ? fileURLToPath(path) : path);
  return {
    [Symbol.asyncIterator]: () => new FileLists(file, { debounceMs, intervalMs }),
  };
}

/** The lists that a file holds one after the other. It goes on after a file that holds none. */
class FileLists implements AsyncIterator<readonly UpstreamInit[]> {
  readonly #file: string;
  readonly #settings: Settings;
  readonly #stopping = new AbortController();
  #watcher: FSWatcher | undefined = undefined;
  /** What was found last: the text of the file, or why it could not be read. */
  #found: string | undefined = undefined;
  /** Whether something has happened in the directory since the file was last read. */
  #stale = false;
  #wake: (() => void) | undefined = undefined;

  constructor(file: string, settings: Settings) {
    this.#file = file;
    this.#settings = settings;
  }

  async next(): Promise<IteratorResult<readonly UpstreamInit[], undefined>> {
    // A watcher has told of what has changed since the last read; that is left alone for a moment first.
    let isCurrent = this.#watcher !== undefined && this.#found !== undefined;
    while (!this.#stopping.signal.aborted) {
      if (isCurrent) await this.#change();
      isCurrent = true;
      if (this.#stopping.signal.aborted) break;
      // Watched before it is read, so that no change falls between the two.
      this.#watch();
      this.#stale = false;
      const before = this.#found;
      const text = await this.#read(before);
      this.#found = text;
      if (text !== before) return { done: false, value: parseList(text, this.#file) };
    }
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<readonly UpstreamInit[], undefined>> {
    this.#stopping.abort();
    this.#unwatch();
    this.#wake?.();
    return { done: true, value: undefined };
  }

  /** The text of the file. @throws what keeps it from being read, unless that was so `before`. */
  async #read(before: string | undefined): Promise<string> {
    try {
      return await readFile(this.#file, 'utf8');
    } catch (error) {
      const found = String(error);
      this.#found = found;
      if (found === before) return found;
      // Its directory may have gone too, and a watcher does not see another come in its place.
      this.#unwatch();
      throw error;
    }
  }

  /**
   * Watches the directory: a watched file is lost when another is renamed over it, and of a file
   * behind symbolic links, as Kubernetes mounts them, only the links change.
   */
  #watch(): void {
    if (this.#watcher !== undefined) return;
    try {
      this.#watcher = watch(dirname(this.#file), { persistent: false }, () => this.#changed());
      this.#watcher.on('error', () => this.#unwatch());
    } catch {
      // No directory yet, or no more watchers to be had: the interval is left.
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #changed(): void {
    this.#stale = true;
    this.#wake?.();
  }

  /** Waits until the file may have changed and whoever changed it has had time to finish. */
  async #change(): Promise<void> {
    const { debounceMs, intervalMs } = this.#settings;
    if (!this.#stale) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, intervalMs).unref();
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
    const { signal } = this.#stopping;
    if (this.#stale) await delay(debounceMs, undefined, { ref: false, signal }).catch(() => {});
    // Silence may also mean that another directory has taken the place of the one that is watched.
    else this.#unwatch();
  }
}

/** @throws an error that quotes nothing of the text: there may be credentials in it. */
function parseList(text: string, file: string): readonly UpstreamInit[] {
  const list = parseJson(text);
  if (!Array.isArray(list)) {
    const found = list === undefined ? 'no JSON' : inspect(list);
    throw new TypeError(`fromFile: ${file} must hold a JSON array of upstreams, it holds ${found}`);
  }
  return list;
}

/** The value, or `undefined`, which JSON cannot hold. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
