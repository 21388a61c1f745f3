import { once } from 'node:events';
import { createSecureServer, createServer, type Http2Server } from 'node:http2';
import {
  type Client,
  credentials,
  type Deadline,
  type handleUnaryCall,
  Metadata,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type ServiceError,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { beforeAll, describe, expect, it } from '@jest/globals';
import connect from 'connect';
import { exchangeOf, forwardedFor, type Handler, proxyErrors, proxyPass } from 'headrace';
import { type Authority, authority, type Certificate } from '../helpers/certificates.js';
import { closeAfter, listen } from '../helpers/servers.js';

let ca: Authority;
let certificate: Certificate;

beforeAll(async () => {
  ca = await authority();
  certificate = await ca.issue('localhost');
});

/** A method of a service whose messages are bytes as they are. */
const method = (path: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/demo.Echo/${path}`,
  requestStream,
  responseStream,
  requestSerialize: (value: Buffer) => value,
  requestDeserialize: (value: Buffer) => value,
  responseSerialize: (value: Buffer) => value,
  responseDeserialize: (value: Buffer) => value,
});

const service = {
  unary: method('Unary', false, false),
  list: method('List', false, true),
  collect: method('Collect', true, false),
  chat: method('Chat', true, true),
  missing: method('Missing', false, false),
} satisfies ServiceDefinition;

/** A client of the service; grpc-js makes its methods as it goes. */
interface EchoClient extends Client {
  // biome-ignore lint/suspicious/noExplicitAny: the methods have many forms, and none is declared
  [name: string]: any;
}
const EchoClient = makeGenericClientConstructor(service, 'Echo') as unknown as new (
  ...args: ConstructorParameters<typeof Client>
) => EchoClient;

/** What a test hears of calls that end before they are answered. */
type Heard = (what: string) => void;

/** What the service does with each kind of call. */
function implementation(heard: Heard): UntypedServiceImplementation {
  const unary: handleUnaryCall<Buffer, Buffer> = (call, done) => {
    const text = String(call.request);
    const trailer = new Metadata();
    trailer.set('x-after', 'yes');
    trailer.set('x-bytes-bin', Buffer.from([0, 255]));
    if (text === 'fail') {
      return done({ code: status.NOT_FOUND, details: 'nö such thing', metadata: trailer });
    }
    if (text === 'wait') {
      call.on('cancelled', () => heard('cancelled'));
      return heard('waiting');
    }
    const before = new Metadata();
    before.set('x-before', String(call.metadata.get('x-asked')));
    call.sendMetadata(before);
    done(null, call.request, trailer);
  };
  return {
    unary,
    // biome-ignore lint/suspicious/noExplicitAny: as grpc-js types implementations
    list: (call: any) => {
      for (let i = 0; i < 1_000; i++) call.write(Buffer.from(`${call.request} ${i}`));
      call.end();
    },
    // biome-ignore lint/suspicious/noExplicitAny: as grpc-js types implementations
    collect: (call: any, done: any) => {
      let length = 0;
      call.on('data', (chunk: Buffer) => {
        length += chunk.length;
      });
      call.on('end', () => done(null, Buffer.from(String(length))));
      call.on('cancelled', () => heard('cancelled'));
    },
    // biome-ignore lint/suspicious/noExplicitAny: as grpc-js types implementations
    chat: (call: any) => {
      call.on('data', (chunk: Buffer) => call.write(Buffer.from(`re: ${chunk}`)));
      call.on('end', () => call.end());
    },
  };
}

const noImplementation: Heard = () => {};

/** A real server of gRPC on 127.0.0.1. */
async function grpcServer(heard: Heard, secure: boolean): Promise<number> {
  const server = new Server();
  const implementations = implementation(heard);
  const { missing: _, ...known } = service;
  server.addService(known, implementations);
  const own = secure
    ? ServerCredentials.createSsl(null, [
        { private_key: Buffer.from(certificate.key), cert_chain: Buffer.from(certificate.cert) },
      ])
    : ServerCredentials.createInsecure();
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', own, (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  closeAfter(() => server.forceShutdown());
  return port;
}

const secured = ['TLS', 'clear text'] as const;

/** A client of a gateway with HTTP/2 before it, and a server behind. */
async function call(
  how: (typeof secured)[number],
  heard: Heard = noImplementation,
  ...pieces: Handler[]
): Promise<{ client: EchoClient; server: Http2Server; asked: () => Promise<unknown[]> }> {
  const secure = how === 'TLS';
  const upstream = await grpcServer(heard, secure);
  const pass = proxyPass(
    secure ? `https://localhost:${upstream}` : `http://127.0.0.1:${upstream}`,
    secure ? { http2: true, tls: { ca: ca.cert } } : { http2: 'prior-knowledge' },
  );
  closeAfter(() => pass.close());
  const app = connect();
  for (const piece of [...pieces, forwardedFor(), pass, proxyErrors()]) app.use(piece as never);
  const server = secure
    ? createSecureServer(certificate, app as never)
    : createServer(app as never);
  const port = await listen(server);
  const client = new EchoClient(
    `localhost:${port}`,
    secure ? credentials.createSsl(Buffer.from(ca.cert)) : credentials.createInsecure(),
  );
  closeAfter(() => client.close());
  return { client, server, asked: () => once(server, 'request') };
}

/** A unary call, with all that comes back. */
function unary(
  client: EchoClient,
  text: string,
  { name = 'unary', deadline }: { name?: string; deadline?: Deadline } = {},
): Promise<{ error: ServiceError | null; reply: string; before: unknown[]; after: unknown[] }> {
  return new Promise((resolve) => {
    const metadata = new Metadata();
    metadata.set('x-asked', 'this');
    let before: unknown[] = [];
    let after: unknown[] = [];
    let result: { error: ServiceError | null; reply: string };
    const started = client[name](
      Buffer.from(text),
      metadata,
      deadline === undefined ? {} : { deadline },
      (error: ServiceError | null, reply?: Buffer) => {
        result = { error, reply: String(reply) };
      },
    );
    started.on('metadata', (fields: Metadata) => {
      before = fields.get('x-before');
    });
    started.on('status', ({ metadata: fields }: { metadata: Metadata }) => {
      after = [...fields.get('x-after'), ...fields.get('x-bytes-bin')];
      setImmediate(() => resolve({ ...result, before, after }));
    });
  });
}

describe.each(secured)('gRPC over %s', (how) => {
  it('calls a method, with metadata before and after the answer', async () => {
    const { client } = await call(how);
    const { error, reply, before, after } = await unary(client, 'hello');
    expect([error, reply]).toEqual([null, 'hello']);
    expect([before, after]).toEqual([['this'], ['yes', Buffer.from([0, 255])]]);
  });

  it('has the status of a call that fails, and its details', async () => {
    const { client } = await call(how);
    const { error, after } = await unary(client, 'fail');
    expect([error?.code, error?.details]).toEqual([status.NOT_FOUND, 'nö such thing']);
    expect(after).toEqual(['yes', Buffer.from([0, 255])]);
    const unknown = await unary(client, 'hello', { name: 'missing' });
    expect(unknown.error?.code).toBe(status.UNIMPLEMENTED);
  });

  it('makes a hundred calls at the same time', async () => {
    const { client } = await call(how);
    const names = Array.from({ length: 100 }, (_, i) => `call ${i}`);
    const answers = await Promise.all(names.map((name) => unary(client, name)));
    expect(answers.map(({ reply }) => reply)).toEqual(names);
  });

  it('streams from the server', async () => {
    const { client } = await call(how);
    const seen: string[] = [];
    for await (const chunk of client.list(Buffer.from('no.'))) seen.push(String(chunk));
    expect(seen).toEqual(Array.from({ length: 1_000 }, (_, i) => `no. ${i}`));
  });

  it('streams to the server', async () => {
    const { client } = await call(how);
    const reply = new Promise((resolve, reject) => {
      const stream = client.collect((error: unknown, value: Buffer) =>
        error ? reject(error) : resolve(String(value)),
      );
      for (let i = 0; i < 100; i++) stream.write(Buffer.alloc(10_000));
      stream.end();
    });
    expect(await reply).toBe('1000000');
  });

  it('talks both ways, in turns', async () => {
    const { client } = await call(how);
    const stream = client.chat();
    for (const word of ['one', 'two', 'three']) {
      stream.write(Buffer.from(word));
      const [answer] = await once(stream, 'data');
      expect(String(answer)).toBe(`re: ${word}`);
    }
    const ended = once(stream, 'status');
    stream.end();
    const [{ code }] = await ended;
    expect(code).toBe(status.OK);
  });

  it('ends a call upstream when its deadline passes, or the client cancels it', async () => {
    let hear: Heard = noImplementation;
    const { client } = await call(how, (what) => hear(what));
    const cancelled = new Promise<void>((resolve) => {
      hear = (what) => what === 'cancelled' && resolve();
    });
    const { error } = await unary(client, 'wait', { deadline: Date.now() + 300 });
    expect(error?.code).toBe(status.DEADLINE_EXCEEDED);
    await cancelled;

    const second = new Promise<void>((resolve) => {
      const stream = client.collect(() => {});
      stream.on('error', () => {});
      stream.write(Buffer.from('some'));
      hear = (what) => what === 'cancelled' && resolve();
      setTimeout(() => stream.cancel(), 100);
    });
    await second;
  });
});

describe('a gateway for gRPC', () => {
  it('knows what became of each call', async () => {
    const outcomes: string[] = [];
    const note: Handler = (req, res, next) => {
      exchangeOf(req, res).onOutcome(({ outcome }) => outcomes.push(String(outcome)));
      next?.();
    };
    const { client } = await call('TLS', noImplementation, note);
    await unary(client, 'hello');
    await unary(client, 'fail');
    expect(outcomes).toEqual(['completed', 'completed']);
  });

  it('whose upstream is down is UNAVAILABLE', async () => {
    const app = connect();
    const pass = proxyPass('http://127.0.0.1:1', { http2: 'prior-knowledge' });
    closeAfter(() => pass.close());
    for (const piece of [pass, proxyErrors()]) app.use(piece as never);
    const port = await listen(createServer(app as never));
    const client = new EchoClient(`localhost:${port}`, credentials.createInsecure());
    closeAfter(() => client.close());
    const { error } = await unary(client, 'hello');
    expect(error?.code).toBe(status.UNAVAILABLE);
  });
});
