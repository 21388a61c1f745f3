import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, jest } from '@jest/globals';
import { hash as argon2 } from '@node-rs/argon2';
import { hash as bcrypt } from '@node-rs/bcrypt';
import { type BasicAuthOptions, basicAuth } from 'headrace';
import { Turns } from '../../src/identity/turns.js';
import { basic, guarded } from '../helpers/identity.js';
import { closeAfter } from '../helpers/servers.js';

let hashed: string;
let other: string;
beforeAll(async () => {
  hashed = await bcrypt('lovelace', { cost: 4, version: '2y' });
  other = await argon2('hopper', { memoryCost: 64, timeCost: 1 });
});

/** A file of users that is gone after the test. */
async function userFile(text: string) {
  const folder = await mkdtemp(join(tmpdir(), 'headrace-'));
  closeAfter(() => rm(folder, { recursive: true }));
  const path = join(folder, 'users');
  let changes = 0;
  const write = async (lines: string) => {
    await writeFile(path, lines);
    // Two writes can come within the same tick of a file system's clock.
    await utimes(path, 0, ++changes);
  };
  await write(text);
  return { path, write };
}

describe('basicAuth', () => {
  it.each([
    [{}, 'basicAuth: needs users or htpasswd, and not both'],
    [{ users: {}, htpasswd: 'x' }, 'basicAuth: needs users or htpasswd, and not both'],
    [{ users: [] }, 'basicAuth: users must be an object of names, received an array of 0'],
    [{ users: { 'a:b': 'c' } }, 'basicAuth: users has a name that cannot be sent: "a:b"'],
    [{ users: { a: '' } }, 'basicAuth: users["a"] must be a hash of a password, received someth'],
    [
      { users: { a: '$apr1$x$y' } },
      'users["a"] must be a hash of bcrypt or argon2 (htpasswd -B), received $apr1$',
    ],
    [
      { users: { a: '{SHA}xyz=' } },
      'users["a"] must be a hash of bcrypt or argon2 (htpasswd -B), received {SHA}',
    ],
    [{ users: { a: '$2y$10$short' } }, 'must be a hash of bcrypt or argon2 (htpasswd -B)'],
    [{ htpasswd: '/no/such/file' }, 'basicAuth: htpasswd cannot be read: ENOENT'],
    [{ htpasswd: 5 }, 'basicAuth: htpasswd must be a path, received 5'],
    [
      { htpasswd: 'ada:secret\n' },
      'htpasswd, line 1 must be a hash of bcrypt or argon2 (htpasswd -B), received something else',
    ],
    [{ htpasswd: '\nada\n' }, 'basicAuth: htpasswd, line 2 must be name:hash'],
    [{ users: {}, realm: 'ä' }, 'basicAuth: realm must be printable ASCII'],
    [{ users: {}, cacheMs: -1 }, 'basicAuth: cacheMs must be a whole number of at least 0'],
    [{ user: {} }, 'basicAuth: unknown option "user", did you mean "users"?'],
  ])('refuses %j', (options, message) => {
    expect(() => basicAuth(options as BasicAuthOptions)).toThrow(message);
  });

  it('never shows a password that it refuses', () => {
    expect(() => basicAuth({ htpasswd: 'ada:hunter2\n' })).not.toThrow(/hunter2/);
  });

  it('knows clients by passwords, and by hashes of bcrypt and argon2', async () => {
    const users = { ada: hashed, grace: other, joan: 'clarke:of:bletchley', zoë: 'ünïcödé' };
    const { get, pass } = await guarded([basicAuth({ users })]);
    const { identity, headers } = await pass(basic('ada', 'lovelace'));
    expect(identity).toEqual({ subject: 'ada', claims: {}, scheme: 'basic' });
    expect(headers).not.toHaveProperty('authorization');
    expect((await pass(basic('grace', 'hopper'))).identity.subject).toBe('grace');
    expect((await pass(basic('joan', 'clarke:of:bletchley'))).identity.subject).toBe('joan');
    expect((await pass(basic('zoë', 'ünïcödé'))).identity.subject).toBe('zoë');
    for (const [name, password] of [
      ['ada', 'hopper'],
      ['grace', 'lovelace'],
      ['joan', 'clarke'],
      ['nobody', 'lovelace'],
      ['', ''],
      ['ada', hashed],
      ['__proto__', 'x'],
      ['constructor', 'x'],
    ] as const) {
      expect((await get(basic(name, password))).status).toBe(401);
    }
  });

  it('does not take a password for that of a name that nobody has', async () => {
    const { get } = await guarded([basicAuth({ users: { ada: 'lovelace' } })]);
    expect((await get(basic('ada', 'lovelace'))).status).toBe(200);
    for (const name of ['', 'Ada', 'ada ', 'eve', 'mallory', 'trent']) {
      expect((await get(basic(name, 'lovelace'))).status).toBe(401);
    }
  });

  it.each([
    ['nothing', ''],
    ['no base64', 'a:b'],
    ['no colon', Buffer.from('ada').toString('base64')],
    ['a control character', Buffer.from('ada:love\0lace').toString('base64')],
    ['too much', Buffer.from(`ada:${'x'.repeat(3_000)}`).toString('base64')],
  ])('refuses %s', async (_what, encoded) => {
    const { get, reason } = await guarded([basicAuth({ users: { ada: 'lovelace' } })]);
    expect((await get(`Authorization: Basic ${encoded}`)).status).toBe(401);
    expect(reason()).toBe('basic: malformed');
  });

  it('forwards name and password when asked to', async () => {
    const { pass } = await guarded([basicAuth({ users: { ada: 'lovelace' }, forward: true })]);
    const line = basic('ada', 'lovelace');
    expect((await pass(line)).headers.authorization).toBe(line.slice(15));
  });

  it('hashes a right password once, a wrong one each time, and one for nobody all the same', async () => {
    let now = 0;
    const users = { ada: hashed };
    const verifier = basicAuth({ users, cacheMs: 1_000, maxPending: 1, now: () => now });
    const isHashed = (name: string, password: string) => {
      const authorization = basic(name, password).slice(15);
      const req = { headers: { authorization }, url: '/' };
      const headers = { get: () => authorization, delete: () => {} };
      const verdict = verifier.verify({ req, headers } as never);
      return [verdict instanceof Promise, verdict] as const;
    };
    const ask = async (name: string, password: string) => {
      const [waits, verdict] = isHashed(name, password);
      await verdict;
      return waits;
    };
    expect(await ask('ada', 'lovelace')).toBe(true);
    expect(await ask('ada', 'lovelace')).toBe(false);
    expect(await ask('ada', 'wrong')).toBe(true);
    expect(await ask('ada', 'wrong')).toBe(true);
    expect(await ask('nobody', 'wrong')).toBe(true);
    now = 1_000;
    expect(await ask('ada', 'lovelace')).toBe(true);
    // Two are hashed at once, and one may wait.
    const many = [1, 2, 3, 4].map((n) => isHashed('nobody', `${n}`)[1]);
    const outcomes = (await Promise.allSettled(many)).map(({ status }) => status);
    expect(outcomes).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected']);
  });

  it('reads a file, with comments and empty lines, and again when it changes', async () => {
    const { path, write } = await userFile(`# people\n\nada:${hashed}:a comment\r\n`);
    let now = 0;
    const failed: Error[] = [];
    const onError = (error: Error) => void failed.push(error);
    const { get } = await guarded([basicAuth({ htpasswd: path, now: () => now, onError })]);
    const statusOf = async (name: string, password: string) =>
      (await get(basic(name, password))).status;
    expect(await statusOf('ada', 'lovelace')).toBe(200);
    await write(`grace:${other}\n`);
    expect(await statusOf('ada', 'lovelace')).toBe(200);
    now = 1_000;
    expect(await statusOf('ada', 'lovelace')).toBe(401);
    expect(await statusOf('grace', 'hopper')).toBe(200);
    await write('grace:in clear\n');
    now = 2_000;
    expect(await statusOf('grace', 'hopper')).toBe(200);
    expect(failed.map(({ message }) => message)).toEqual([
      'basicAuth: htpasswd could not be read again',
    ]);
  });

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('of the user');
      },
    ],
    ['rejects', async () => Promise.reject(new Error('of the user'))],
  ])('warns of an onError() that %s, and goes on with the users it has', async (_, onError) => {
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    closeAfter(() => warn.mockRestore());
    const { path, write } = await userFile(`ada:${hashed}\n`);
    let now = 0;
    const { get } = await guarded([basicAuth({ htpasswd: path, now: () => now, onError })]);
    await write('ada:in clear\n');
    now = 1_000;
    expect((await get(basic('ada', 'lovelace'))).status).toBe(200);
    expect(warn.mock.calls.map(([message]) => message)).toEqual(['basicAuth: onError() threw']);
  });

  it('takes the text of a file', async () => {
    const { pass } = await guarded([basicAuth({ htpasswd: `ada:${hashed}` })]);
    expect((await pass(basic('ada', 'lovelace'))).identity.subject).toBe('ada');
    expect(() => basicAuth({ htpasswd: `ada:${hashed}\nada:${hashed}` })).toThrow(
      'basicAuth: htpasswd, line 2 has a name that an earlier line has',
    );
  });
});

describe('turns', () => {
  it('are taken in order, so many at once, and given back by work that fails', async () => {
    const turns = new Turns(1, 2);
    const done: number[] = [];
    const work = (n: number) => async () => {
      done.push(n);
      if (n === 1) throw new Error('failed');
      return n;
    };
    const all = await Promise.allSettled([1, 2, 3, 4].map((n) => turns.take(work(n))));
    expect(all.map(({ status }) => status)).toEqual([
      'rejected',
      'fulfilled',
      'fulfilled',
      'rejected',
    ]);
    expect(done).toEqual([1, 2, 3]);
    expect(await turns.take(work(5))).toBe(5);
  });
});
