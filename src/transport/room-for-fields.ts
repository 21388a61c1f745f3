import { IncomingMessage, ServerResponse } from 'node:http';
import { Server } from 'node:net';
import { EXCHANGE } from '../exchange/carrier.js';

/**
 * Whether V8 makes a hidden class for each single object that gets a field after its prototype was changed. Up to
 * Node 22 it does, and all that reads the object afterwards is slow: see decision 95.
 */
const GROWS_SLOWLY = Number.parseInt(process.versions.node, 10) < 24;

/** What Express, its router and `rateLimiter()` put on a request after Express has changed its prototype. */
const OF_REQUESTS: readonly unknown[] = [
  'next',
  'baseUrl',
  'originalUrl',
  'params',
  'route',
  '_parsedUrl',
  'rateLimit',
];
/** The router's as well: a symbol, of which each copy of it has another one. */
const MATCHED_ROUTE = 'router.tracing.matchedRoute';
/** What Express and the pieces put on an answer. */
const OF_ANSWERS: readonly unknown[] = ['locals', EXCHANGE];

/** Servers whose requests and answers have room. */
const roomy = new WeakSet<Server>();

/** Whether one more field on this answer would make all slow that reads it. */
export function growsSlowly(res: ServerResponse): boolean {
  return GROWS_SLOWLY && Object.getPrototypeOf(res) !== ServerResponse.prototype;
}

/**
 * Where a request has been through Express: has its server give the next ones, and their answers, the fields that this
 * one has got there, before Express sees them.
 */
export function makeRoom(req: IncomingMessage, res: ServerResponse): void {
  if (!GROWS_SLOWLY || Object.getPrototypeOf(req) === IncomingMessage.prototype) return;
  // Those of HTTP/2 are made in another way.
  if (!(req instanceof IncomingMessage)) return;
  const { server } = req.socket as { server?: unknown };
  if (!(server instanceof Server) || roomy.has(server)) return;
  roomy.add(server);
  // The first ones of each list come from Node's prototype until they are set.
  const ofRequests = ['_eventsCount', ...Reflect.ownKeys(req).filter(isOfRequests)];
  const ofAnswers = ['statusCode', 'statusMessage', ...Reflect.ownKeys(res).filter(isOfAnswers)];
  server.prependListener('request', (coming: IncomingMessage, answer: ServerResponse) => {
    if (!(coming instanceof IncomingMessage)) return;
    own(coming, ofRequests);
    own(answer, ofAnswers);
  });
}

function isOfRequests(key: string | symbol): boolean {
  const isSymbol = typeof key === 'symbol';
  return isSymbol ? key.description === MATCHED_ROUTE : OF_REQUESTS.includes(key);
}

function isOfAnswers(key: string | symbol): boolean {
  return OF_ANSWERS.includes(key);
}

/** Makes fields a message's own, with the values that they have. */
function own(message: IncomingMessage | ServerResponse, keys: readonly PropertyKey[]): void {
  const fields = message as typeof message & Record<PropertyKey, unknown>;
  for (const key of keys) {
    const value = fields[key];
    if (!Object.hasOwn(fields, key)) fields[key] = value;
  }
}
