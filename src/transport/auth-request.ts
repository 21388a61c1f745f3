import type { IncomingMessage } from 'node:http';
import { clientOrigin } from '../exchange/client.js';
import type { Exchange } from '../exchange/exchange.js';
import { fieldInfo, isForwardingField } from '../exchange/fields.js';
import { originForm } from '../exchange/origin-form.js';
import { type RequestTrusts, trustedAddress, trustsPeer } from '../exchange/trust.js';

/** What an auth service is told of a request. */
export interface AuthRequestSettings {
  /** The only fields of the client that are passed on, in lower case; all when there are none. */
  readonly only: ReadonlySet<string> | undefined;
  readonly trusts: RequestTrusts;
}

/** Fields that are about a body which is not sent, or would make the answer another one than yes or no. */
const NOT_PASSED = /^(?:content-|if-)|^(?:range|te|accept-encoding|max-forwards|via)$/;

/** Fields in which services look for the request that they are asked about: not for the client to write. */
const TOLD = /^x-(?:original-|rewrite-|auth-request-)|^x-http-method/;

/** The header of the request to an auth service, as flat names and values; `Via` is left to the caller. */
export function authRequestHeaders(
  exchange: Exchange,
  { only, trusts }: AuthRequestSettings,
): (string | readonly string[])[] {
  const { req, headers } = exchange;
  const flat = headers.flatten();
  const passed: (string | readonly string[])[] = [];
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i] as string;
    const { lower, alias } = fieldInfo(name);
    if (NOT_PASSED.test(lower) || (only !== undefined && !only.has(lower))) continue;
    const isClaim = isForwardingField(alias) || TOLD.test(alias);
    if (isClaim && !headers.isEdited(lower)) continue;
    if (lower !== 'x-forwarded-method' && lower !== 'x-forwarded-uri') {
      passed.push(name, flat[i + 1] as string | readonly string[]);
    }
  }
  passed.push('X-Forwarded-Method', exchange.method, 'X-Forwarded-Uri', originalUrl(req));
  const { proto, host } = clientOrigin(req, trustsPeer(req, trusts));
  const own = {
    'X-Forwarded-Proto': proto,
    'X-Forwarded-Host': host,
    'X-Forwarded-For': trustedAddress(req, trusts),
  };
  for (const [name, value] of Object.entries(own)) {
    // What `forwardedFor()` has written stands.
    if (value !== undefined && !headers.isEdited(name.toLowerCase())) passed.push(name, value);
  }
  return passed;
}

/** What the client asked for, whatever routers and rewrites have made of it, in the form in which paths are judged. */
function originalUrl(req: IncomingMessage): string {
  const { originalUrl = req.url ?? '/' } = req as IncomingMessage & { originalUrl?: string };
  const target = originForm(originalUrl);
  const fragment = target.indexOf('#');
  return fragment === -1 ? target : target.slice(0, fragment);
}
