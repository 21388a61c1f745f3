import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request as plainRequest } from 'node:http';
import { request as secureRequest } from 'node:https';
import { gunzipSync } from 'node:zlib';

const PATIENCE_MS = 10_000;
/** What is longer is known by its digest only. */
const KEPT_BYTES = 1024 * 1024;

/**
 * Asks once, on a connection of its own: `{ status, headers, length, digest, text }`. The text is without its
 * content coding, and empty when the body is long.
 */
export async function ask(url, { body, ca } = {}) {
  const response = await open(url, { body, ca });
  const hash = createHash('sha256');
  const chunks = [];
  let length = 0;
  for await (const chunk of response) {
    hash.update(chunk);
    length += chunk.length;
    if (length <= KEPT_BYTES) chunks.push(chunk);
  }
  const bytes = length <= KEPT_BYTES ? Buffer.concat(chunks) : Buffer.alloc(0);
  const coded = response.headers['content-encoding'] === 'gzip';
  return {
    status: response.statusCode,
    headers: response.headers,
    length,
    digest: hash.digest('hex'),
    text: (coded ? gunzipSync(bytes) : bytes).toString(),
  };
}

/** The response as soon as its head is here. The caller reads or destroys it. */
export async function open(url, { body, ca } = {}) {
  const request = url.startsWith('https:') ? secureRequest : plainRequest;
  const head =
    body === undefined
      ? {}
      : {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'content-length': body.length },
        };
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const asked = request(url, { ...head, agent: false, ca, signal });
  asked.end(body);
  const [response] = await once(asked, 'response');
  return response;
}
