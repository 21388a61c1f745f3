import type { Socket } from 'node:net';
import { types } from 'node:util';
import { expect, jest } from '@jest/globals';
import connect from 'connect';
import express, { type RequestHandler } from 'express';
import express4 from 'express4';
import { isProxyError, ProxyError, type ProxyPassOptions, proxyPass } from 'headrace';
import { rawRequest } from './client.js';
import { recordErrors } from './record-errors.js';
import { frameworks, gateway, type Middleware, rawUpstream, serve } from './servers.js';

const GET = 'GET /path HTTP/1.1\r\nHost: gateway\r\n\r\n';

/** Failing upstreams say this, and it must come out nowhere. */
export const SECRET = 's3cret';

/** What an upstream could be known by: its bytes, its address, what its socket said. */
const GIVEAWAY = /s3cret|127\.0\.0\.1|255\.255|ssss|\.sock|E[A-Z]{4,}/;

/** Makes an upstream that answers with these bytes, and then does as told; gives its URL. */
export function saying(
  bytes: string,
  then: (socket: Socket) => unknown = () => {},
): () => Promise<string> {
  return async () => {
    const { url } = await rawUpstream((_request, socket) => {
      socket.write(Buffer.from(bytes, 'latin1'), () => then(socket));
      return undefined;
    });
    return url;
  };
}

/** Asks for a target that fails, through each framework: `next(err)` gets this error, once. */
export async function checkErrors(
  target: string,
  code: string,
  status: number,
  options?: ProxyPassOptions,
): Promise<void> {
  const checks = frameworks.map(async (framework) => {
    const { errors, record } = recordErrors();
    const { port } = await gateway(framework, proxyPass(target, options), record);
    const res = await rawRequest(port, GET);
    expect([res.status, res.body]).toEqual([status, code]);

    const [error, ...more] = errors;
    expect(more).toEqual([]);
    expect(error).toBeInstanceOf(ProxyError);
    expect(isProxyError(error)).toBe(true);
    expect(error).toMatchObject({ code, status, statusCode: status, expose: false });
    expect(types.isNativeError(error?.cause)).toBe(true);
    expect(error?.upstream?.url).toBe(target);
    expect(error?.message).not.toMatch(GIVEAWAY);
  });
  await Promise.all(checks);
}

/** The same without error middleware: the frameworks' own answers have the status, and no more. */
export async function checkDefaultAnswers(
  target: string,
  status: number,
  options?: ProxyPassOptions,
): Promise<void> {
  const printed = jest.spyOn(console, 'error').mockImplementation(() => {});
  const where = target.replace(/^\w+:(\/\/)?/, '');
  const checks = (await defaultGateways(target, options)).map(async ({ name, port }) => {
    const res = await rawRequest(port, GET);
    expect([name, res.status]).toEqual([name, status]);
    const answer = `${res.reason}\n${res.headers.join('\n')}\n${res.body}`;
    expect(answer).not.toContain(where);
    expect(answer).not.toMatch(GIVEAWAY);
  });
  await Promise.all(checks);
  // Express prints an error that nobody handles, a turn after it has answered.
  await new Promise(setImmediate);
  printed.mockRestore();
}

/** Each framework without error middleware, in each environment that its own answer depends on. */
async function defaultGateways(
  target: string,
  options: ProxyPassOptions | undefined,
): Promise<{ name: string; port: number }[]> {
  const pass = proxyPass(target, options) as Middleware;
  const gateways: { name: string; port: number }[] = [];
  for (const [name, make] of [
    ['express 5', express],
    ['express 4', express4],
  ] as const) {
    for (const env of ['development', 'production', 'test']) {
      const app = make()
        .set('env', env)
        .use(pass as RequestHandler);
      gateways.push({ name: `${name} in ${env}`, port: (await serve(app)).port });
    }
  }
  const app = connect().use(pass as connect.HandleFunction);
  gateways.push({ name: 'connect', port: (await serve(app)).port });
  gateways.push({ name: 'node:http', port: (await serve((req, res) => pass(req, res))).port });
  return gateways;
}
