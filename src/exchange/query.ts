/**
 * The value of a query parameter, decoded. `null` when it is there more than once, or cannot be decoded:
 * servers differ in which one they take.
 */
export function queryValue(path: string, name: string): string | null | undefined {
  let value: string | null | undefined;
  for (const pair of pairsOf(path)) {
    if (!isNamed(pair, name)) continue;
    if (value !== undefined) return null;
    const equals = pair.indexOf('=');
    value = equals === -1 ? '' : (decoded(pair.slice(equals + 1)) ?? null);
  }
  return value;
}

/** The path without a query parameter, however its name is spelt. The rest stays as it is. */
export function withoutQuery(path: string, name: string): string {
  const question = path.indexOf('?');
  if (question === -1) return path;
  const rest = pairsOf(path).filter((pair) => !isNamed(pair, name));
  const before = path.slice(0, question);
  return rest.length === 0 ? before : `${before}?${rest.join('&')}`;
}

function pairsOf(path: string): string[] {
  const question = path.indexOf('?');
  if (question === -1) return [];
  const fragment = path.indexOf('#', question);
  return path.slice(question + 1, fragment === -1 ? undefined : fragment).split('&');
}

function isNamed(pair: string, name: string): boolean {
  const equals = pair.indexOf('=');
  const spelt = equals === -1 ? pair : pair.slice(0, equals);
  return spelt === name || decoded(spelt) === name;
}

function decoded(text: string): string | undefined {
  if (!text.includes('%') && !text.includes('+')) return text;
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
}
