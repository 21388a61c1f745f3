import { appendFileSync, writeFileSync } from 'node:fs';
import {
  mkdir,
  mkdtemp,
  open,
  readFile,
  rename,
  rm,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { type FromFileOptions, fromFile } from 'headrace';
import { follow } from '../../../src/upstreams/discovery/follow.js';
import { recordingSink } from '../../helpers/discovery.js';
import { closeAfter } from '../../helpers/servers.js';
import { eventually, settled } from '../../helpers/settled.js';

/** A folder of the test's own, and a path in it. */
async function place(): Promise<{ folder: string; file: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'headrace-file-'));
  closeAfter(() => rm(folder, { recursive: true, force: true }));
  return { folder, file: join(folder, 'upstreams.json') };
}

/** Follows until the test is over; pauses after failures are short. */
function followed(path: string | URL, options: FromFileOptions = {}) {
  const sink = recordingSink();
  const stop = follow(fromFile(path, { debounceMs: 5, ...options }), sink, () => 0.1);
  closeAfter(stop);
  const has = (...list: unknown[]) =>
    eventually(`the list ${list}`, () => JSON.stringify(sink.log.at(-1)) === JSON.stringify(list));
  const tells = (message: RegExp) =>
    eventually(`the failure ${message}`, () => message.test(String(sink.log.at(-1))));
  return { sink, stop, has, tells };
}

const json = (...list: unknown[]) => JSON.stringify(list);

describe('fromFile', () => {
  it.each([
    [[undefined], 'fromFile: path must be a path of a file, received undefined'],
    [[''], 'fromFile: path must be a path of a file, received ""'],
    [
      [new URL('http://a/b.json')],
      'fromFile: path must be a file: URL, received "http://a/b.json"',
    ],
    [
      ['a', { debounceMs: -1 }],
      'fromFile: debounceMs must be a whole number from 0 to 2147483647, received -1',
    ],
    [
      ['a', { intervalMs: 0 }],
      'fromFile: intervalMs must be a whole number from 1 to 2147483647, received 0',
    ],
    [['a', { interval: 1 }], /^fromFile: unknown option "interval"/],
  ])('refuses %j', (args, message) => {
    expect(() => fromFile(...(args as Parameters<typeof fromFile>))).toThrow(message);
  });

  it('reads what the file holds, by its path, a relative one or a URL', async () => {
    const { file } = await place();
    const list = ['http://127.0.0.1:1', { url: 'http://127.0.0.1:2', weight: 3 }];
    await writeFile(file, json(...list));
    await followed(file).has(...list);
    await followed(relative(process.cwd(), file)).has(...list);
    await followed(pathToFileURL(file)).has(...list);
  });

  it('reads a file again that is written in place', async () => {
    const { file } = await place();
    await writeFile(file, json('a'));
    const { has } = followed(file);
    await has('a');
    await writeFile(file, json('a', 'b'));
    await has('a', 'b');
    await writeFile(file, json('c'));
    await has('c');
  });

  it('reads a file again that an editor puts in its place, time after time', async () => {
    const { folder, file } = await place();
    await writeFile(file, json(0));
    const { sink, has } = followed(file);
    await has(0);
    for (let i = 1; i <= 5; i++) {
      const draft = join(folder, `.draft-${i}`);
      await writeFile(draft, json(i));
      await rename(draft, file);
      await has(i);
    }
    expect(sink.failures).toEqual([]);
  });

  it('reads a file again that was deleted and made anew', async () => {
    const { file } = await place();
    await writeFile(file, json('a'));
    const { sink, has, tells } = followed(file);
    await has('a');
    await unlink(file);
    await tells(/ENOENT/);
    expect(sink.updates).toEqual([['a']]);
    await writeFile(file, json('b'));
    await has('b');
  });

  it('waits for a file that is not there yet', async () => {
    const { file } = await place();
    const { has, tells } = followed(file);
    await tells(/ENOENT/);
    await writeFile(file, json('a'));
    await has('a');
  });

  it('waits for a folder that is not there yet', async () => {
    const { folder } = await place();
    const file = join(folder, 'later', 'upstreams.json');
    const { has, tells } = followed(file, { intervalMs: 20 });
    await tells(/ENOENT/);
    await mkdir(join(folder, 'later'));
    await writeFile(file, json('a'));
    await has('a');
  });

  it('keeps the last list while a file is half written, and reads it when it is whole', async () => {
    const { file } = await place();
    await writeFile(file, json('a'));
    const { sink, has, tells } = followed(file);
    await has('a');
    const handle = await open(file, 'w');
    closeAfter(() => handle.close());
    await handle.write('["b", ');
    await tells(/holds no JSON$|it holds no JSON/);
    expect(sink.updates).toEqual([['a']]);
    await handle.write('"c"]');
    await has('b', 'c');
  });

  it('leaves a changed file alone for a moment, so that it is seen only as a whole', async () => {
    const { file } = await place();
    await writeFile(file, json('a'));
    const { sink, has } = followed(file, { debounceMs: 1_000 });
    await has('a');
    const handle = await open(file, 'w');
    closeAfter(() => handle.close());
    for (const part of ['["b"', ', ', '"c"', ']']) {
      await handle.write(part);
      await delay(10);
    }
    await has('b', 'c');
    expect(sink.log).toEqual([['a'], ['b', 'c']]);
  });

  it('leaves alone for a moment what changes as soon as it has been read, too', async () => {
    const { file } = await place();
    await writeFile(file, json('a'));
    const lists = fromFile(file, { debounceMs: 300 })[Symbol.asyncIterator]();
    closeAfter(() => lists.return?.());
    expect((await lists.next()).value).toEqual(['a']);
    writeFileSync(file, '["b", ');
    const next = lists.next();
    await delay(50);
    appendFileSync(file, '"c"]');
    expect((await next).value).toEqual(['b', 'c']);
  });

  it('tells once of a file that stays as bad as it is', async () => {
    const { folder, file } = await place();
    await writeFile(file, '{"url": "http://a"}');
    const { sink, has, tells } = followed(file, { intervalMs: 10 });
    await tells(/must hold a JSON array of upstreams, it holds an object \["url"\]/);
    await writeFile(join(folder, 'another'), 'which is no matter');
    await settled(() => sink.log.length, 100);
    expect(sink.log).toHaveLength(1);
    await writeFile(file, json('a'));
    await has('a');
  });

  it('goes on watching when its file is deleted and made anew', async () => {
    const { file } = await place();
    await writeFile(file, json('a'));
    const { has, tells } = followed(file, { intervalMs: 60_000 });
    await has('a');
    await rm(file);
    await tells(/ENOENT/);
    // It has been looked for once more by then, and not been there.
    await delay(300);
    await writeFile(file, json('b'));
    await has('b');
  });

  it('goes on watching when one bad file follows another', async () => {
    const { file } = await place();
    await writeFile(file, '[');
    const { has, sink } = followed(file);
    for (let i = 1; i <= 4; i++) {
      await eventually('a failure', () => sink.failures.length >= i);
      await writeFile(file, '['.repeat(i + 1));
    }
    await writeFile(file, json('a'));
    await has('a');
  });

  it('quotes nothing of a file that it cannot read', async () => {
    const { file } = await place();
    await writeFile(file, '["http://user:secret@a"');
    const { sink, tells } = followed(file);
    await tells(/holds no JSON/);
    expect(String(sink.failures[0])).toContain(file);
    expect(String(sink.failures[0])).not.toContain('secret');
  });

  it('says nothing when a file is written again as it was', async () => {
    const { file } = await place();
    await writeFile(file, json('a'));
    const { sink, has } = followed(file);
    await has('a');
    await writeFile(file, await readFile(file));
    await settled(() => sink.log.length, 100);
    expect(sink.log).toEqual([['a']]);
  });

  it('follows links as Kubernetes changes them', async () => {
    const { folder, file } = await place();
    for (const version of ['one', 'two']) {
      await mkdir(join(folder, version));
      await writeFile(join(folder, version, 'upstreams.json'), json(version));
    }
    await symlink('one', join(folder, '..data'));
    await symlink(join('..data', 'upstreams.json'), file);
    const { has } = followed(file);
    await has('one');
    await symlink('two', join(folder, '..next'));
    await rename(join(folder, '..next'), join(folder, '..data'));
    await has('two');
  });

  it('sees a change by looking where no watcher tells of it', async () => {
    const { folder } = await place();
    const other = await place();
    await writeFile(other.file, json('a'));
    const link = join(folder, 'link.json');
    await symlink(other.file, link);
    const { has } = followed(link, { intervalMs: 20 });
    await has('a');
    await writeFile(other.file, json('b'));
    await has('b');
  });

  it('sees a folder that has taken the place of another, and watches it', async () => {
    const { folder } = await place();
    const live = join(folder, 'live');
    for (const name of ['one', 'two']) {
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, 'upstreams.json'), json(name));
    }
    await symlink('one', live);
    const { has } = followed(join(live, 'upstreams.json'), { intervalMs: 3_000 });
    await has('one');
    await symlink('two', join(folder, 'next'));
    await rename(join(folder, 'next'), live);
    await has('two');
    const written = performance.now();
    await writeFile(join(live, 'upstreams.json'), json('newest'));
    await has('newest');
    // The watcher has told of it, well before it was time to look again.
    expect(performance.now() - written).toBeLessThan(2_000);
  });

  it('ends its watcher and its timers when it is left', async () => {
    const { file } = await place();
    await writeFile(file, json('a'));
    const lists = fromFile(file, { intervalMs: 10, debounceMs: 0 })[Symbol.asyncIterator]();
    await lists.next();
    const waiting = lists.next();
    await lists.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });
    await writeFile(file, json('b'));
    expect(await lists.next()).toEqual({ done: true, value: undefined });
  });

  it('does not keep the process alive', async () => {
    const active = (type: string) =>
      process.getActiveResourcesInfo().filter((name) => name === type).length;
    const { file } = await place();
    await writeFile(file, json('a'));
    const lists = fromFile(file)[Symbol.asyncIterator]();
    closeAfter(() => lists.return?.());
    await lists.next();
    const timers = active('Timeout');
    void lists.next();
    await delay(50);
    await eventually('rest', () => active('Timeout') <= timers);
    expect(active('FSEventWrap')).toBe(0);
  });
});
