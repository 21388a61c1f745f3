const CHARSET = /;\s*charset\s*=\s*"?([^\s";]+)"?/i;

/** The charset that a `Content-Type` names, in lower case. */
export function charsetOf(contentType: string | undefined): string | undefined {
  return contentType === undefined ? undefined : CHARSET.exec(contentType)?.[1]?.toLowerCase();
}

/** A `Content-Type` of which the charset, where it names one, is UTF-8: what text is sent as. */
export function asUtf8(contentType: string): string {
  return contentType.replace(CHARSET, '; charset=utf-8');
}

/** Text in the charset that a `Content-Type` names; UTF-8 where it names none or an unknown one. */
export function decodeText(body: Buffer, contentType: string | undefined): string {
  const charset = charsetOf(contentType);
  if (charset === undefined || charset === 'utf-8' || charset === 'utf8') return utf8Text(body);
  try {
    const decoder = new TextDecoder(charset);
    // In one piece, Node 20 reads windows-1252 as if it were latin-1.
    return decoder.decode(body, { stream: true }) + decoder.decode();
  } catch {
    return utf8Text(body);
  }
}

/** Without a byte order mark: RFC 8259, 8.1 has none in JSON, and other charsets lose theirs too. */
function utf8Text(body: Buffer): string {
  const text = body.toString('utf8');
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

/** Whether a `Content-Type` is JSON: `application/json`, `text/json` or any `+json`. */
export function isJson(contentType: string | undefined): boolean {
  return contentType !== undefined && /^[^;]*[/+]json\s*(?:;|$)/i.test(contentType);
}
