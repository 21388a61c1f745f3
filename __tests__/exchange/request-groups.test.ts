import { describe, expect, it } from '@jest/globals';
import type { Exchange } from '../../src/exchange/exchange.js';
import { RequestGroups } from '../../src/exchange/request-groups.js';

const BOUNDS = Float64Array.of(1);

/** As much of an exchange as labels look at. */
function exchange(method: string, route: string, tenant = ''): Exchange {
  return { route, req: { method, headers: { tenant } } } as unknown as Exchange;
}

const tenant = ({ req }: Exchange) => req.headers.tenant as string;

describe('RequestGroups', () => {
  it('has one group for each method and route', () => {
    const groups = new RequestGroups(BOUNDS, {});
    const first = groups.of(exchange('GET', '/a'));
    expect(groups.of(exchange('GET', '/a'))).toBe(first);
    expect(groups.of(exchange('PUT', '/a')).labels).toEqual({ method: 'PUT', route: '/a' });
    expect(groups.of(exchange('MKCOL', '/b')).labels).toEqual({ method: 'other', route: '/b' });
    expect(groups.of(exchange('get', '/b')).labels).toEqual({ method: 'other', route: '/b' });
    expect([...groups]).toHaveLength(3);
  });

  it('has no more than a hundred values for each label, and those that came first stay', () => {
    const groups = new RequestGroups(BOUNDS, { tenant });
    for (let i = 0; i < 250; i++) groups.of(exchange('GET', `/${i}`, `${i % 3}`));
    const last = groups.of(exchange('GET', '/249', '1'));
    expect(last.labels).toEqual({ method: 'GET', route: 'other', tenant: '1' });
    expect(groups.of(exchange('GET', '/7', '1')).labels.route).toBe('/7');
    expect(new Set([...groups].map(({ labels }) => labels.route)).size).toBe(101);
  });

  it('has no more than a thousand groups, each with labels of its own', () => {
    const groups = new RequestGroups(BOUNDS, { tenant });
    groups.of(exchange('MKCOL', 'other', 'other'));
    const methods = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'MKCOL'];
    for (let i = 0; i < 20_000; i++) {
      const method = methods[i % methods.length] as string;
      groups.of(exchange(method, `/${i % 90}`, `${i % 97}`));
    }
    const seen = [...groups].map(({ labels }) => JSON.stringify(labels));
    expect(seen.length).toBeLessThanOrEqual(1_001);
    expect(new Set(seen).size).toBe(seen.length);
    const beyond = groups.of(exchange('DELETE', '/new', 'new'));
    expect(beyond.labels).toEqual({ method: 'other', route: 'other', tenant: 'other' });
  });

  it('has a label whose value has lines in one line', () => {
    const groups = new RequestGroups(BOUNDS, { tenant });
    const { labels } = groups.of(exchange('GET', '/', 'a\nb'));
    expect(labels).toEqual({ method: 'GET', route: '/', tenant: 'a b' });
  });
});
