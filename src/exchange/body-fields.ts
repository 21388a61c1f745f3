import type { ServerResponse } from 'node:http';
import { BYTE_FIELDS } from './fields.js';

/**
 * What describes one body, frames it, or says how long it may be kept. Not all that begins with `Content-`:
 * `Content-Security-Policy` is the app's word on whatever is sent.
 */
const BODY_FIELDS = [
  ...BYTE_FIELDS,
  'content-type',
  'content-length',
  'content-language',
  'content-location',
  'content-range',
  'content-disposition',
  'etag',
  'last-modified',
  'accept-ranges',
  'transfer-encoding',
  'trailer',
  'age',
  'expires',
  'cache-control',
  'cdn-cache-control',
  'surrogate-control',
];

/**
 * Takes back what has been set on an answer for a body that will not be sent. The rest is the app's, and
 * stays: without its CORS fields, a browser could not even read the status of an error.
 */
export function dropBodyFields(res: ServerResponse): void {
  for (const name of BODY_FIELDS) {
    // To remove what is not there would turn off that Node frames the answer by itself.
    if (res.hasHeader(name)) res.removeHeader(name);
  }
}
