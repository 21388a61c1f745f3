import { AsyncLocalStorage } from 'node:async_hooks';
import { createReadStream } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { PassThrough, Readable, Transform } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import {
  exchangeOf,
  modifyResponse,
  type Outcome,
  proxyPass,
  type ResponseEdit,
  type UpstreamResponse,
} from 'headrace';
import { rawClient, rawRequest } from '../helpers/client.js';
import { recordErrors } from '../helpers/record-errors.js';
import { request } from '../helpers/requests.js';
import { closeAfter, gateway, rawUpstream } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const GET = request('GET /');
const SIX = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef';
/** More is announced than comes. */
const BEGUN = 'HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\nabcdef';

/** A gateway with one edit, and what becomes of its exchanges and errors. */
async function editing(answer: string, ...edits: ResponseEdit[]) {
  const upstream = await rawUpstream(answer);
  const { errors, record } = recordErrors();
  const outcomes: unknown[] = [];
  const watch = (req: IncomingMessage, res: ServerResponse, next: () => void) => {
    exchangeOf(req, res).onOutcome(({ outcome }) => outcomes.push(outcome?.type));
    next();
  };
  const pieces = edits.map((edit) => modifyResponse(edit));
  const { port } = await gateway('express 5', watch, ...pieces, proxyPass(upstream.url), record);
  return { port, upstream, errors, outcomes };
}

/** What an edit makes of the body of the upstream, by hand. */
const byHand: [string, ResponseEdit][] = [
  [
    'piped into another stream',
    (response) => {
      response.body = response.stream().pipe(new PassThrough());
    },
  ],
  [
    'taken, and given back later',
    async (response) => {
      const stream = response.stream();
      await setTimeout(20);
      response.body = stream;
    },
  ],
];

describe('a body that an edit has taken as a stream', () => {
  it.each(byHand)('does not end the process when the client leaves: %s', async (_what, edit) => {
    const { port, upstream, outcomes } = await editing(BEGUN, edit);
    const client = await rawClient(port, GET);
    await eventually('the request', () => upstream.received().length > 0);
    await setTimeout(5);
    client.socket.destroy();
    await eventually('the outcome', () => outcomes.length === 1);
    expect(outcomes).toEqual(['client-closed']);
    await eventually('the end of the upstream', () => upstream.sockets[0]?.destroyed === true);
  });

  it.each(byHand)('is cut where its upstream breaks off: %s', async (_what, edit) => {
    const { port, upstream, outcomes } = await editing(BEGUN, edit);
    const client = await rawClient(port, GET);
    await eventually('the request', () => upstream.received().length > 0);
    await setTimeout(60);
    upstream.sockets[0]?.destroy();
    const text = await client.closed();
    expect(text).not.toMatch(/0\r\n\r\n$/);
    expect(outcomes).toEqual(['failed']);
  });
});

describe('a body that an edit has begun to read', () => {
  const readers: [string, (response: UpstreamResponse) => Promise<unknown>][] = [
    ['buffer()', (response) => response.buffer()],
    ['text()', (response) => response.text()],
    ['json()', (response) => response.json()],
  ];

  // Jest fails a test that leaves a rejection unhandled, and forgives one that is handled late.
  it.each(readers)('may fail with nobody waiting for it: %s', async (_what, read) => {
    const { port, upstream, errors } = await editing(BEGUN, async (response) => {
      void read(response);
      upstream.sockets[0]?.destroy();
      await setTimeout(30);
      throw new Error('The edit fails, too');
    });
    expect((await rawRequest(port, GET)).status).toBe(502);
    expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_MODIFY_RESPONSE']);
  });
});

describe('a stream that an edit has made', () => {
  const missing: ResponseEdit = (response) => {
    response.body = createReadStream('/nowhere/to/be/found');
  };
  const later: ResponseEdit = () => setTimeout(30);
  const throws: ResponseEdit = async () => {
    await setTimeout(30);
    throw new Error('later');
  };

  it.each([
    ['waits', later],
    ['throws', throws],
  ])('is 502 where it fails before it is sent, while another edit %s', async (_what, next) => {
    const { port, errors } = await editing(SIX, missing, next);
    expect((await rawRequest(port, GET)).status).toBe(502);
    expect(errors.map(({ code }) => code)).toEqual(['ERR_PROXY_MODIFY_RESPONSE']);
  });

  it('may hold text and bytes, one by one', async () => {
    const { port } = await editing(SIX, (response) => {
      response.body = Readable.from(['é', Buffer.from('b'), new Uint8Array([99])]);
    });
    expect((await rawRequest(port, GET)).body).toBe(Buffer.from('ébc').toString('latin1'));
  });

  it('breaks off at what is neither', async () => {
    const { port, outcomes } = await editing(SIX, (response) => {
      response.body = Readable.from(['text', { not: 'text' }]);
    });
    const client = await rawClient(port, GET);
    expect(await client.closed()).not.toMatch(/0\r\n\r\n$/);
    expect(outcomes).toEqual(['failed']);
  });

  it.each([
    ['2', 'failed'],
    ['30', 'failed'],
    ['6', 'completed'],
  ])('that comes with a length of %s has %s with six bytes', async (length, outcome) => {
    const { port, outcomes } = await editing(SIX, (response) => {
      response.body = Readable.from([Buffer.from('abc'), Buffer.from('def')]);
      response.headers.set('Content-Length', length);
    });
    const client = await rawClient(port, GET + GET);
    if (outcome === 'failed') {
      const text = await client.closed();
      expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
      expect(outcomes[0]).toBe('failed');
    } else {
      await client.until((text) => text.split('abcdef').length === 3);
      expect(outcomes).toEqual(['completed', 'completed']);
    }
  });
});

it('a streamed answer whose end() throws is cut', async () => {
  const upstream = await rawUpstream((_bytes, socket) => {
    socket.write(BEGUN.replace('600', '12'));
    void setTimeout(30).then(() => socket.write('ghijkl'));
    return undefined;
  });
  const breaking = (_req: IncomingMessage, res: ServerResponse, next: () => void) => {
    res.end = () => {
      throw new Error('end');
    };
    next();
  };
  const { port } = await gateway('connect', breaking, proxyPass(upstream.url));
  const client = await rawClient(port, GET);
  expect(await client.closed()).toContain('abcdef');
});

it('listeners of a streamed answer find themselves in the context of its request', async () => {
  const storage = new AsyncLocalStorage<string>();
  const upstream = await rawUpstream((_bytes, socket) => {
    socket.write(BEGUN.replace('600', '12'));
    void setTimeout(20).then(() => socket.write('ghijkl'));
    return undefined;
  });
  const heard: string[] = [];
  const within = (req: IncomingMessage, res: ServerResponse, next: () => void) => {
    const note = (what: string) => () => heard.push(`${what} ${req.url} ${storage.getStore()}`);
    exchangeOf(req, res).onOutcome(note('outcome'));
    res.once('finish', note('finish'));
    storage.run(`${req.url}`, next);
  };
  const through: ResponseEdit = (response, req) => {
    if (req.url !== '/edited') return;
    const transform = new PassThrough();
    transform.on('data', () => heard.push(`data ${req.url} ${storage.getStore()}`));
    response.pipeThrough(transform);
  };
  const pass = proxyPass(upstream.url, { connections: 1 });
  closeAfter(() => pass.close());
  const { port } = await gateway('express 5', within, modifyResponse(through), pass);
  for (const path of ['/a', '/b', '/edited']) await rawRequest(port, request(`GET ${path}`));
  expect(heard).toHaveLength(8);
  for (const line of heard) expect(line).toMatch(/ (\/\w+) \1$/);
});

it('a Trailer field of earlier middleware goes where the length is known', async () => {
  const upstream = await rawUpstream(SIX);
  const trailer = (_req: IncomingMessage, res: ServerResponse, next: () => void) => {
    res.setHeader('Trailer', 'X-Sum');
    next();
  };
  const { port } = await gateway('express 5', trailer, proxyPass(upstream.url));
  const { status, body, header } = await rawRequest(port, GET);
  expect([status, body, header('trailer')]).toEqual([200, 'abcdef', undefined]);
});

it('an answer whose head cannot be written is 502 with its own reason', async () => {
  const upstream = await rawUpstream(SIX.replace('200 OK', '200 Fine'));
  const breaking = (_req: IncomingMessage, res: ServerResponse, next: () => void) => {
    res.writeHead = ((_status: number, reason: string) => {
      res.statusMessage = reason;
      Reflect.deleteProperty(res, 'writeHead');
      throw new Error('writeHead');
    }) as unknown as typeof res.writeHead;
    next();
  };
  const { port } = await gateway('connect', breaking, proxyPass(upstream.url));
  const { status, reason } = await rawRequest(port, GET);
  expect([status, reason]).toEqual([502, 'Bad Gateway']);
});

describe('a client that does not read what an edit has made', () => {
  const LARGE = Buffer.alloc(16 * 1_048_576, 'x');
  const made: [string, ResponseEdit][] = [
    [
      'bytes',
      (response) => {
        response.body = LARGE;
      },
    ],
    [
      'a stream',
      (response) => {
        response.body = Readable.from(Array.from({ length: 256 }, () => LARGE.subarray(0, 65_536)));
      },
    ],
    [
      'what is piped through',
      (response) => {
        response.pipeThrough(
          new Transform({
            transform: (_chunk, _encoding, done) => done(null, LARGE.subarray(0, 8_000_000)),
          }),
        );
      },
    ],
  ];

  async function slow(edit: ResponseEdit, bodyTimeoutMs: number) {
    const upstream = await rawUpstream(SIX);
    const outcomes: (Outcome | undefined)[] = [];
    const watch = (req: IncomingMessage, res: ServerResponse, next: () => void) => {
      exchangeOf(req, res).onOutcome(({ outcome }) => outcomes.push(outcome));
      next();
    };
    const pass = proxyPass(upstream.url, { bodyTimeoutMs });
    const { port } = await gateway('express 5', watch, modifyResponse(edit), pass);
    const client = await rawClient(port);
    client.socket.pause();
    client.write(GET);
    return { client, outcomes };
  }

  it.each(made)('is not waited for without end: %s', async (_what, edit) => {
    const { outcomes } = await slow(edit, 100);
    await eventually('the outcome', () => outcomes.length === 1);
    expect(outcomes[0]).toMatchObject({
      type: 'failed',
      error: { code: 'ERR_PROXY_BODY_TIMEOUT' },
    });
  });

  it.each(made.slice(0, 2))('is waited for while it takes some of it: %s', async (_what, edit) => {
    const { client, outcomes } = await slow(edit, 300);
    let got = 0;
    client.socket.on('data', ({ length }) => {
      got += length;
      if (got >= LARGE.length) return;
      client.socket.pause();
      void setTimeout(4).then(() => client.socket.resume());
    });
    client.socket.resume();
    await eventually('the outcome', () => outcomes.length === 1, 14_000);
    expect(outcomes[0]?.type).toBe('completed');
  });
});

it('an answer whose stream says nothing for long is not taken for a slow client', async () => {
  const upstream = await rawUpstream(SIX);
  const edit = modifyResponse((response) => {
    response.body = Readable.from(
      (async function* () {
        yield 'first';
        await setTimeout(400);
        yield 'second';
      })(),
    );
  });
  const { port } = await gateway('connect', edit, proxyPass(upstream.url, { bodyTimeoutMs: 60 }));
  expect((await rawRequest(port, GET)).body).toBe('firstsecond');
});
