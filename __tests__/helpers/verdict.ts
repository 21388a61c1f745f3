import { parseResponses, type RawResponse, rawClient, rawRequest } from './client.js';
import { type RawUpstream, rawUpstream } from './servers.js';
import { canonicalRequests, type WireRequest } from './wire.js';

/**
 * The three things that may become of a message that is not as it should be. `REJ`: refused with 4xx,
 * 501 or 505, the connection closed, nothing of it upstream. `NORM`: upstream as one message that has
 * one meaning. `CLOSE`: the connection closed, and no whole message of it upstream.
 */
type Verdict = 'REJ' | 'NORM' | 'CLOSE';

/** What became of a message. */
export interface Judgement {
  readonly verdict: Verdict;
  /** The status the client got, if any. */
  readonly status: number | undefined;
  readonly response: RawResponse | undefined;
  /** What the upstream got, when it got it. */
  readonly request: WireRequest | undefined;
  /** All bytes that the client got. */
  readonly received: string;
}

/** An upstream that answers each request with its request line, so that no answer can be mistaken. */
export function echoUpstream(): Promise<RawUpstream> {
  return rawUpstream((request) => {
    const line = request.slice(0, request.indexOf('\r\n'));
    const body = request.startsWith('HEAD ') ? '' : line;
    return `HTTP/1.1 200 OK\r\nContent-Length: ${line.length}\r\n\r\n${body}`;
  });
}

let innocents = 0;

/**
 * Sends bytes through a gateway to an {@link echoUpstream} and says what became of them. Behind them
 * goes an innocent request, on the same connection where there still is one, which must get its own
 * answer over the same upstream connections. Throws when what happened is none of the three verdicts.
 */
export async function judge(
  gateway: { readonly port: number },
  upstream: RawUpstream,
  bytes: string | Buffer,
): Promise<Judgement> {
  const before = upstream.connections();
  const isHead = /^HEAD /.test(bytes.toString('latin1'));
  const client = await rawClient(gateway.port, bytes);
  const answers = () => parseResponses(client.received(), isHead, client.hasEnded());
  await client.untilOrClosed(() => answers().length > 0);

  const innocent = `/innocent-${++innocents}`;
  if (closes(answers()[0])) await client.closed();
  if (!client.hasEnded()) {
    client.write(innocentRequest(innocent));
    await client.untilOrClosed((text) => text.includes(`${innocent} HTTP/1.1`));
  }
  if (!client.received().includes(innocent)) {
    const { body } = await rawRequest(gateway.port, innocentRequest(innocent));
    if (!body.endsWith(`${innocent} HTTP/1.1`)) throw new Error(`a stranger got "${body}"`);
  }

  const { seen, broken } = await news(upstream, before);
  const mine = seen.filter(({ target }) => !target.endsWith(innocent));
  const received = client.received();
  if (mine.length > 1) {
    throw new Error(`one message became ${mine.map(({ target }) => target).join(', ')}`);
  }
  const [response] = answers();
  const [request] = mine;
  if (request !== undefined && request.header('host') !== `127.0.0.1:${upstream.port}`) {
    throw new Error(`the upstream was taken for ${request.header('host')}`);
  }
  const status = response?.status;
  const verdict = verdictOn(response, request, broken, client.hasEnded());
  if (verdict === undefined) {
    throw new Error(
      `neither refused nor passed on nor closed; upstream got ${request?.target}, client got:\n${received}`,
    );
  }
  client.socket.destroy();
  return { verdict, status, response, request, received };
}

/** A request that nobody could object to. */
export function innocentRequest(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n`;
}

function verdictOn(
  response: RawResponse | undefined,
  request: WireRequest | undefined,
  broken: boolean,
  ended: boolean,
): Verdict | undefined {
  if (request !== undefined) {
    const echo = request.method === 'HEAD' ? '' : `${request.method} ${request.target} HTTP/1.1`;
    return !broken && response?.status === 200 && response.body === echo ? 'NORM' : undefined;
  }
  if (!ended) return undefined;
  if (response === undefined || broken) return 'CLOSE';
  const { status } = response;
  const refused = (status >= 400 && status < 500) || status === 501 || status === 505;
  return refused && closes(response) ? 'REJ' : undefined;
}

function closes(response: RawResponse | undefined): boolean {
  return response?.header('connection')?.toLowerCase() === 'close';
}

/** What an upstream got since; `broken` when there is part of a request on a connection that is over. */
async function news(
  upstream: RawUpstream,
  before: readonly string[],
): Promise<{ seen: WireRequest[]; broken: boolean }> {
  const seen: WireRequest[] = [];
  let broken = false;
  for (const [i, bytes] of upstream.connections().entries()) {
    const { requests, rest } = canonicalRequests(bytes.slice(before[i]?.length ?? 0));
    seen.push(...requests);
    if (rest === '') continue;
    broken = true;
    const socket = upstream.sockets[i];
    if (socket !== undefined && !socket.closed)
      await new Promise((resolve) => socket.once('close', resolve));
  }
  return { seen, broken };
}
