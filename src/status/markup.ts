/** The body of the page: what the script fills, and the templates that it copies. */
export function markup(withActions: boolean): string {
  return `
<header>
  <h1 id="title">…</h1>
  <p id="link" role="status">connecting</p>
  <div class="tools">
    <input id="filter" type="search" placeholder="Filter ( / )" autocomplete="off" spellcheck="false"
      aria-label="Filter upstreams by address, pool or state" aria-keyshortcuts="/">
    <label><input id="troubled" type="checkbox"> not well</label>
    <button id="theme" type="button">theme: auto</button>
  </div>
</header>
<main id="pools">
  <noscript>This page is drawn by a script. The same is there <a href="?format=json">as JSON</a>.</noscript>
</main>
<footer>
  <p id="said" role="status" aria-live="polite"></p>
  <p>Rates and times are those of about the last five seconds. <a href="?format=json">As JSON</a></p>
</footer>

<template id="pool">
  <section class="pool">
    <h2></h2>
    <dl class="sum"></dl>
    <div class="charts">
      <figure><svg role="img"></svg><figcaption></figcaption></figure>
      <figure><svg role="img"></svg><figcaption></figcaption></figure>
      <figure><svg role="img"></svg><figcaption></figcaption></figure>
    </div>
    <div class="scroll" tabindex="0" role="region">
      <table>
        <thead>
          <tr>
            <th scope="col">upstream</th>
            ${COLUMNS.map(([, label]) => `<th scope="col">${label}</th>`).join('')}
            <th scope="col">five minutes</th>
            ${withActions ? '<th scope="col">actions</th>' : ''}
          </tr>
        </thead>
        <tbody></tbody>
      </table>
    </div>
  </section>
</template>

<template id="upstream">
  <tr>
    <th scope="row" class="url"></th>
    ${COLUMNS.map(([name, label]) => `<td class="${name}" data-label="${label}"></td>`).join('')}
    <td class="spark" data-label="five minutes"><svg role="img"></svg></td>
    ${withActions ? `<td class="actions">${BUTTONS}</td>` : ''}
  </tr>
</template>`;
}

/** Classes of the cells of an upstream, and what stands above them. */
const COLUMNS: readonly (readonly [name: string, label: string])[] = [
  ['state', 'state'],
  ['circuit', 'circuit'],
  ['rate', 'requests/s'],
  ['errors', 'errors'],
  ['p50', 'p50'],
  ['p95', 'p95'],
  ['p99', 'p99'],
  ['flying', 'in flight'],
  ['retries', 'retries'],
  ['bytes', 'sent / received'],
];

const BUTTONS = ['drain', 'eject', 'resume']
  .map((action) => `<button type="button" data-action="${action}">${action}</button>`)
  .join(' ');
