import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import { type Exchange, exchangeOf } from 'headrace';
import { type RawClient, rawClient } from '../helpers/client.js';
import { serve } from '../helpers/servers.js';
import { eventually } from '../helpers/settled.js';

const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

/** So many requests that one client has sent at once, none of them answered. */
async function pipelined(
  count: number,
): Promise<{ client: RawClient; answers: ServerResponse[]; exchanges: () => Exchange[] }> {
  const answers: ServerResponse[] = [];
  const { port } = await serve((_req, res) => void answers.push(res));
  const client = await rawClient(port, GET.repeat(count));
  await eventually('the requests', () => answers.length === count);
  return { client, answers, exchanges: () => answers.map((res) => exchangeOf(res.req, res)) };
}

/** What is noted of each outcome, in the order in which they come. */
function outcomesOf(exchanges: readonly Exchange[]): string[] {
  const outcomes: string[] = [];
  exchanges.forEach((exchange, i) => {
    exchange.onOutcome(() => outcomes.push(`${i} ${exchange.outcome}`));
  });
  return outcomes;
}

describe('answers that wait behind another one', () => {
  it('close with their connection', async () => {
    const { client, answers, exchanges } = await pipelined(3);
    const outcomes = outcomesOf(exchanges());
    const closed = answers.map((res) => once(res, 'close'));
    client.socket.destroy();
    await Promise.all(closed);
    expect(outcomes.sort()).toEqual(['0 client-closed', '1 client-closed', '2 client-closed']);
    expect(exchanges().map(({ open }) => open)).toEqual([false, false, false]);
  });

  it('close once, also those whose turn came before the end', async () => {
    const { client, answers, exchanges } = await pipelined(3);
    const outcomes = outcomesOf(exchanges());
    let closes = 0;
    for (const res of answers) res.on('close', () => closes++);
    answers[0]?.end('first');
    await client.until((text) => text.endsWith('first'));
    await eventually('the turn of the second', () => answers[1]?.socket !== null);
    client.socket.destroy();
    await eventually('the outcomes', () => outcomes.length === 3);
    expect(outcomes.sort()).toEqual(['0 completed', '1 client-closed', '2 client-closed']);
    expect(closes).toBe(3);
  });

  it('are not completed by having been written for nobody', async () => {
    const { client, answers, exchanges } = await pipelined(2);
    const outcomes = outcomesOf(exchanges());
    answers[1]?.end('second');
    client.socket.destroy();
    await eventually('the outcomes', () => outcomes.length === 2);
    expect(outcomes.sort()).toEqual(['0 client-closed', '1 client-closed']);
  });

  it('complete in their turn, with one listener for all on their connection', async () => {
    const { client, answers, exchanges } = await pipelined(20);
    const [
      {
        req: { socket },
      },
    ] = answers as [ServerResponse];
    const before = socket.listenerCount('close');
    const outcomes = outcomesOf(exchanges());
    expect(socket.listenerCount('close')).toBe(before + 1);
    for (const [i, res] of answers.entries()) res.end(`answer ${i}.`);
    await client.until((text) => text.endsWith('answer 19.'));
    await eventually('the outcomes', () => outcomes.length === 20);
    expect(outcomes).toEqual(answers.map((_, i) => `${i} completed`));
    expect(answers.map((res) => res.listenerCount('close'))).toEqual(Array(20).fill(1));
  });

  it('are known to be too late when their client has gone before anybody asks', async () => {
    const { client, answers, exchanges } = await pipelined(2);
    const closed = once(answers[0] as ServerResponse, 'close');
    client.socket.destroy();
    await closed;
    expect(exchanges().map(({ open }) => open)).toEqual([false, false]);
    expect(outcomesOf(exchanges())).toEqual(['0 client-closed', '1 client-closed']);
  });
});
