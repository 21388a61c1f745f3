/** What is replaced in the case `rewrite`, in every proxy, and by what. */
export const rewritten = { from: 'internal.example', to: 'www.example.org' };

/** HTML with many links that say where they should not. */
export function page() {
  const line = (id) =>
    `<li><a href="http://${rewritten.from}/orders/${id}">Order ${id * 7919}</a></li>\n`;
  let text = '<!doctype html>\n<ul>\n';
  for (let id = 1; text.length < 32 * 1024; id++) text += line(id);
  return `${text}</ul>\n`;
}
