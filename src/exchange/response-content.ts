import type { Readable } from 'node:stream';

/** Where the bytes of the body are. */
export type Content =
  /** Still coming from the upstream, untouched. */
  | { readonly at: 'wire' }
  /** Taken by `stream()`; somebody else reads them. */
  | { readonly at: 'taken'; readonly stream: Readable }
  /** Read into memory as they came, content coding included. */
  | { readonly at: 'memory'; readonly bytes: Buffer }
  /** Replaced by bytes. */
  | { readonly at: 'edit'; readonly bytes: Buffer }
  /** Replaced by a stream. */
  | { readonly at: 'stream'; readonly stream: Readable }
  /** Released. */
  | { readonly at: 'nowhere' };
