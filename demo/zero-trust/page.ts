/** A page of the demo. `body` is HTML: what comes from elsewhere goes through {@link text} first. */
export function page(title: string, body: string): string {
  return `<!doctype html>
<meta charset="utf-8" />
<title>${text(title)}</title>
<h1>${text(title)}</h1>
${body}
`;
}

/** Text as HTML shows it. */
export function text(value: unknown): string {
  return String(value).replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
