import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Express } from 'express';
import { attach } from 'headrace';
import { gateway } from './gateway.js';
import { provider } from './provider.js';
import { upstream } from './upstream.js';

/** Where the demo listens; 0 takes any free port. */
export interface ZeroTrustPorts {
  readonly gateway: number;
  readonly provider: number;
  readonly upstream: number;
}

/** The demo in action. */
export interface ZeroTrust {
  readonly gateway: string;
  readonly provider: string;
  readonly upstream: string;
  /** Lets what is under way finish, and stops. */
  close(): Promise<void>;
}

/** Starts a provider, an upstream, and the gateway that knows both. */
export async function start(
  ports: ZeroTrustPorts,
  log: (line: string) => void,
): Promise<ZeroTrust> {
  const running: Place[] = [];
  const close = async (): Promise<void> => {
    for (const place of running.splice(0).reverse()) await place.close();
  };
  const open = async (host: string, port: number): Promise<Place> => {
    const place = await listen(host, port);
    running.push(place);
    return place;
  };
  try {
    // Cookies do not tell ports apart, names they do: gateway and provider keep theirs to themselves.
    const idp = await open('127.0.0.1', ports.provider);
    const behind = await open('127.0.0.1', ports.upstream);
    const front = await open('localhost', ports.gateway);
    const client = {
      id: 'gateway',
      secret: randomBytes(32).toString('base64url'),
      callback: `${front.url}/callback`,
      bye: `${front.url}/bye`,
    };
    idp.serve(provider(idp.url, client));
    behind.serve(upstream(behind.url, front.url));
    const places = { self: front.url, issuer: idp.url, upstream: behind.url };
    front.serve(await gateway({ ...places, client }, log));
    return { gateway: front.url, provider: idp.url, upstream: behind.url, close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Place {
  readonly url: string;
  /** What it serves; known only once all know where the others are. */
  serve(app: Express): void;
  close(): Promise<void>;
}

async function listen(host: string, port: number): Promise<Place> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  let close = async (): Promise<void> => void server.close();
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    serve(app) {
      server.on('request', app);
      // A browser may hold a connection open for later: it is waited for, but not for long.
      ({ close } = attach(server, app, { drainMs: 2_000 }));
    },
    close: () => close(),
  };
}
