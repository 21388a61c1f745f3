/** An absolute-form target without its scheme and authority: rules for paths must see a path. */
export function originForm(url: string): string {
  if (url.charCodeAt(0) === 0x2f) return url;
  const path = url.replace(/^https?:\/\/[^/?#]*/i, '');
  return path === url || path.charCodeAt(0) === 0x2f ? path : `/${path}`;
}
