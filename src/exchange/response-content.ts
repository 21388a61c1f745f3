import type { Readable } from 'node:stream';

/** Where the bytes of the body are. */
export type Content =
  /** Still coming from the upstream, untouched. */
  | { readonly at: 'wire' }
  /** Taken by `stream()`; somebody else reads them. */
  | { readonly at: 'taken'; readonly stream: Readable }
  /** Read into memory as they came, content coding included. */
  | { readonly at: 'memory'; readonly bytes: Buffer }
  /** Replaced by bytes, which others may have as well. */
  | { readonly at: 'edit'; readonly bytes: Buffer; readonly isLent?: boolean }
  /** Replaced by a stream, which may be of what is on the wire. */
  | { readonly at: 'stream'; readonly stream: Readable; readonly isCopied?: boolean }
  /** Released. */
  | { readonly at: 'nowhere' };

/** The bytes, for whoever may write into them. */
export function ownBytes(content: Extract<Content, { readonly bytes: Buffer }>): Buffer {
  const { bytes } = content;
  return content.at === 'edit' && content.isLent ? Buffer.from(bytes) : bytes;
}
