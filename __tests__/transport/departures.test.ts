import { AsyncLocalStorage } from 'node:async_hooks';
import { describe, expect, it } from '@jest/globals';
import type { Exchange } from '../../src/exchange/exchange.js';
import { Departures } from '../../src/transport/departures.js';

/** Departures that take notes instead of ending answers. */
function noted(note: (name: string, last: string | undefined) => void) {
  const departures = new Departures((exchange, last) => {
    note(exchange as unknown as string, last?.toString());
  });
  return (name: string, last?: string): void => {
    departures.add(name as unknown as Exchange, last === undefined ? last : Buffer.from(last));
  };
}

const turnOfTheLoop = (): Promise<void> => new Promise((done) => setImmediate(done));

describe('departures', () => {
  it('has what is ready in one turn leave at its end, in order', async () => {
    const left: string[] = [];
    const add = noted((name, last) => left.push(`${name}:${last}`));
    add('first', 'body');
    await Promise.resolve();
    add('second');
    await new Promise<void>((done) => process.nextTick(done));
    expect(left).toEqual([]);
    await turnOfTheLoop();
    expect(left).toEqual(['first:body', 'second:undefined']);
  });

  it('has the next ones leave at the end of their own turn', async () => {
    const left: string[] = [];
    const add = noted((name) => left.push(name));
    add('first');
    await turnOfTheLoop();
    add('second');
    expect(left).toEqual(['first']);
    await turnOfTheLoop();
    expect(left).toEqual(['first', 'second']);
  });

  it('lets none wait for more than 31 others', async () => {
    const left: string[] = [];
    const add = noted((name) => left.push(name));
    for (let i = 1; i <= 130; i++) add(`${i}`);
    expect(left).toHaveLength(128);
    await turnOfTheLoop();
    expect(left).toEqual(Array.from({ length: 130 }, (_, i) => `${i + 1}`));
  });

  it('takes one that becomes ready while others leave', async () => {
    const left: string[] = [];
    const add = noted((name) => {
      left.push(name);
      if (name === 'first') add('late');
    });
    add('first');
    add('second');
    await turnOfTheLoop();
    await turnOfTheLoop();
    expect(left).toEqual(['first', 'second', 'late']);
  });

  it('gives each the asynchronous context of its own request', async () => {
    const request = new AsyncLocalStorage<string>();
    const left: string[] = [];
    const add = noted((name) => left.push(`${name} as ${request.getStore()}`));
    request.run('a', () => add('first'));
    request.run('b', () => add('second'));
    add('third');
    await turnOfTheLoop();
    expect(left).toEqual(['first as a', 'second as b', 'third as undefined']);
  });
});
