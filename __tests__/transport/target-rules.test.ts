import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import {
  type TargetFacts,
  type TargetRule,
  TargetRules,
} from '../../src/transport/target-rules.js';

type Given = TargetRule | readonly TargetRule[];

const req = { url: '/' } as IncomingMessage;

/** Whether a target may be reached: `host:port`, and the address that the host has. */
function admits(allow: Given, target: string, address: string, deny: Given = []): Promise<boolean> {
  const rules = new TargetRules('forwardProxy', allow, deny);
  return rules.admit(parsed(target), address, req);
}

function parsed(target: string) {
  const colon = target.lastIndexOf(':');
  const port = Number(target.slice(colon + 1));
  return { scheme: 'http', host: target.slice(0, colon), port } as const;
}

describe('a rule allows', () => {
  it.each<[Given, target: string, address: string]>([
    ['example.com', 'example.com:80', '1.1.1.1'],
    ['example.com', 'example.com:8080', '1.1.1.1'],
    ['EXAMPLE.com.', 'example.com:80', '1.1.1.1'],
    ['bücher.example', 'xn--bcher-kva.example:80', '1.1.1.1'],
    ['example.com:8080', 'example.com:8080', '1.1.1.1'],
    ['*.example.com', 'a.example.com:80', '1.1.1.1'],
    ['*.example.com', 'a.b.example.com:80', '1.1.1.1'],
    ['*.example.com:81', 'a.example.com:81', '1.1.1.1'],
    ['*', 'a:25', '1.1.1.1'],
    ['*:25', 'a:25', '1.1.1.1'],
    [443, 'a:443', '1.1.1.1'],
    [443, 'a:443', '2606:4700::1111'],
    ['1.1.1.1', '1.1.1.1:80', '1.1.1.1'],
    ['1.1.1.1', 'a:80', '1.1.1.1'],
    ['10.0.0.0/8', 'a:80', '10.1.2.3'],
    ['10.0.0.0/8', 'a:80', '::ffff:10.1.2.3'],
    ['::ffff:10.0.0.0/104', 'a:80', '10.1.2.3'],
    ['::ffff:10.1.2.3', 'a:80', '10.1.2.3'],
    ['[::ffff:10.1.2.3]:80', 'a:80', '10.1.2.3'],
    ['127.0.0.1:8080', 'localhost:8080', '127.0.0.1'],
    ['[::1]:8080', 'localhost:8080', '::1'],
    ['[::1]', 'a:1', '::1'],
    ['fd00::/8', 'a:1', 'fd00::1'],
    ['FD00::/8', 'a:1', 'fd00:0::1'],
    ['169.254.169.254', 'a:80', '169.254.169.254'],
    ['0.0.0.0/0', 'a:80', '127.0.0.1'],
    ['2002::/16', 'a:80', '2002:7f00:1::'],
    ['localhost', 'localhost:80', '127.0.0.1'],
    ['localhost:80', 'localhost:80', '::1'],
    [() => true, 'a:1', '127.0.0.1'],
    [async () => true, 'a:1', '127.0.0.1'],
    [['a', 'b', 443], 'b:80', '1.1.1.1'],
    [['a', () => false, '10.0.0.0/8'], 'c:80', '10.0.0.1'],
  ])('%s: %s at %s', async (allow, target, address) => {
    expect(await admits(allow, target, address)).toBe(true);
  });
});

describe('a rule does not allow', () => {
  it.each<[why: string, Given, target: string, address: string]>([
    ['another host', 'example.com', 'example.org:80', '1.1.1.1'],
    ['a host below it', 'example.com', 'a.example.com:80', '1.1.1.1'],
    ['a host that ends alike', '*.example.com', 'aexample.com:80', '1.1.1.1'],
    ['the host that the others are below of', '*.example.com', 'example.com:80', '1.1.1.1'],
    ['another port', 'example.com:8080', 'example.com:80', '1.1.1.1'],
    ['another port', '*:25', 'a:26', '1.1.1.1'],
    ['another port', 443, 'a:80', '1.1.1.1'],
    ['another port', '127.0.0.1:80', 'a:81', '127.0.0.1'],
    ['another address', '10.0.0.0/8', 'a:80', '11.0.0.1'],
    ['a private address by a name', 'example.com', 'example.com:80', '10.0.0.1'],
    ['a private address by a name', 'example.com:80', 'example.com:80', '127.0.0.1'],
    ['a private address by a pattern', '*.example.com', 'a.example.com:80', '169.254.169.254'],
    ['a private address by a pattern', '*', 'a:80', '::1'],
    ['a private address by a port', 80, 'a:80', '127.0.0.1'],
    ['another private address by localhost', 'localhost', 'localhost:80', '10.0.0.1'],
    ['another name at loopback by localhost', 'localhost', 'a:80', '127.0.0.1'],
    ['localhost by its port', 80, 'localhost:80', '127.0.0.1'],
    ['localhost by a pattern', '*', 'localhost:80', '127.0.0.1'],
    ['another port of localhost', 'localhost:81', 'localhost:80', '127.0.0.1'],
    ['names below localhost', '*.localhost', 'a.localhost:80', '127.0.0.1'],
    ['an embedded private address', '*', 'a:80', '64:ff9b::a00:1'],
    ['an embedded address by the rule for it', '10.0.0.0/8', 'a:80', '2002:a00:1::'],
    ['anything when a function says no', () => false, 'a:80', '1.1.1.1'],
    ['anything when a function says no in the end', async () => false, 'a:80', '1.1.1.1'],
    ['anything when there is none', [], 'a:80', '1.1.1.1'],
  ])('%s: %s: %s at %s', async (_why, allow, target, address) => {
    expect(await admits(allow, target, address)).toBe(false);
  });
});

describe('a rule denies', () => {
  it.each<[Given, target: string, address: string]>([
    ['example.com', 'example.com:80', '1.1.1.1'],
    ['*.example.com', 'a.example.com:80', '1.1.1.1'],
    ['example.com:80', 'example.com:80', '1.1.1.1'],
    [25, 'a:25', '1.1.1.1'],
    ['*', 'a:25', '1.1.1.1'],
    ['1.1.1.1', 'a:80', '1.1.1.1'],
    ['1.1.1.1', 'a:80', '::ffff:1.1.1.1'],
    ['1.1.1.1', 'a:80', '64:ff9b::1.1.1.1'],
    ['1.1.1.1', 'a:80', '2002:101:101::'],
    ['1.0.0.0/8', 'a:80', '1.2.3.4'],
    ['::/0', 'a:80', '2606:4700::1111'],
    [() => true, 'a:80', '1.1.1.1'],
    [async () => true, 'a:80', '1.1.1.1'],
  ])('%s: %s at %s, whatever is allowed', async (deny, target, address) => {
    const everything = ['*', '0.0.0.0/0', '::/0', () => true];
    expect(await admits(everything, target, address, deny)).toBe(false);
    expect(await admits(everything, target, address, [])).toBe(true);
  });
});

it('a function is told what it needs to decide', async () => {
  const seen: TargetFacts[] = [];
  const note = (facts: TargetFacts) => seen.push(facts) > 10;
  await admits(note, 'a:81', '10.0.0.1');
  await admits([], 'b:82', '::ffff:8.8.8.8', note);
  expect(seen).toEqual([
    { host: 'a', port: 81, address: '10.0.0.1', isPublic: false, req },
    { host: 'b', port: 82, address: '8.8.8.8', isPublic: true, req },
  ]);
});

it('a function that throws admits nothing', async () => {
  const broken = () => {
    throw new Error('broken');
  };
  await expect(admits(broken, 'a:80', '1.1.1.1')).rejects.toThrow('broken');
  await expect(admits(80, 'a:80', '1.1.1.1', broken)).rejects.toThrow('broken');
});

describe('a name need not be resolved', () => {
  const refuses = (allow: Given, deny: Given, target: string) =>
    new TargetRules('forwardProxy', allow, deny).refusesUnresolved(parsed(target));

  it.each<[allow: Given, deny: Given, target: string]>([
    [443, [], 'a:80'],
    ['a', [], 'b:80'],
    ['*', 'a', 'a:80'],
    [() => true, 80, 'a:80'],
    ['10.0.0.0/8', '*.example', 'a.example:80'],
    [[], [], 'a:80'],
  ])('allow %s, deny %s: %s', (allow, deny, target) => {
    expect(refuses(allow, deny, target)).toBe(true);
  });

  it.each<[allow: Given, deny: Given, target: string]>([
    [80, [], 'a:80'],
    ['10.0.0.0/8', [], 'a:80'],
    [() => false, [], 'a:80'],
    ['a', ['b', () => true, '0.0.0.0/0'], 'a:80'],
  ])('unless its address matters: allow %s, deny %s: %s', (allow, deny, target) => {
    expect(refuses(allow, deny, target)).toBe(false);
  });
});

describe('a rule that cannot be meant', () => {
  it.each([
    ['', 'is none'],
    [' example.com', 'has a space'],
    ['http://example.com', 'is a URL'],
    ['example.com/path', 'has a path'],
    ['user@example.com', 'has a user'],
    ['example.com:0', 'has no port'],
    ['example.com:65536', 'has no port'],
    ['example.com:', 'has no port'],
    ['a.*.example', 'has its star in the middle'],
    ['*example.com', 'has its star in a word'],
    ['*.', 'has nothing behind its star'],
    ['*.1.2.3.4', 'has a star before an address'],
    ['443', 'is a port in quotes'],
    ['127.1', 'is an address that is not written out'],
    ['10.0.0.0/33', 'is no range'],
    ['10.0.0/8', 'is no range'],
    ['fe80::1%eth0', 'has a zone'],
    ['[::1', 'is half an address'],
    ['exa%6dple.com', 'is encoded'],
  ])('%j is refused: it %s', (rule) => {
    expect(() => new TargetRules('forwardProxy', ['a', rule], [])).toThrow(
      `forwardProxy: allow[1] must be a host, an address, a range, a port or a function, received ${JSON.stringify(rule.replace(/.*@/, '***@'))}`,
    );
    expect(() => new TargetRules('forwardProxy', [], rule)).toThrow(
      /^forwardProxy: deny must be a host, an address, a range, a port or a function, received "/,
    );
  });

  it.each([null, {}, true, /a/, ['a']])('%p is refused', (rule) => {
    expect(() => new TargetRules('forwardProxy', [rule as never], [])).toThrow(TypeError);
  });

  it.each([0, 65_536, 1.5, Number.NaN, -1])('%p is no port', (rule) => {
    expect(() => new TargetRules('forwardProxy', rule, [])).toThrow(
      new RangeError(
        `forwardProxy: allow must be a whole number from 1 to 65535, received ${rule}`,
      ),
    );
  });
});
