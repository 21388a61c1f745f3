/** The rest of the page's script: charts of what it knows, the tools at the top, the buttons, and words for numbers. */
export const viewScript = `
function drawPool({ history, figures: [requests, times, flying] }) {
  chart(requests, 'requests/s', history.requestsPerSecond, number, [
    { values: history.requestsPerSecond, name: 'main', isFilled: true },
    { values: history.errorsPerSecond, name: 'alarm' },
  ], ', errors ' + number(latest(history.errorsPerSecond)));
  chart(times, 'p95', history.p95, time, [
    { values: history.p95, name: 'main', isFilled: true },
    { values: history.p50, name: 'second' },
  ], ', p50 ' + time(latest(history.p50)));
  chart(flying, 'in flight', history.inFlight, number, [
    { values: history.inFlight, name: 'main', isFilled: true },
  ], '');
}

function chart(figure, name, values, words, lines, more) {
  const svg = figure.firstElementChild;
  draw(svg, POOL_POINTS, lines);
  const text = name + ' ' + words(latest(values)) + more + ', at most ' + words(Math.max(0, ...values));
  set(figure.lastElementChild, text);
  svg.setAttribute('aria-label', text + ' in the last five minutes');
}

function drawRow({ cells, history }) {
  const svg = cells.spark.firstElementChild;
  const top = draw(svg, POINTS, [
    { values: history.requestsPerSecond, name: 'main', isFilled: true },
    { values: history.errorsPerSecond, name: 'alarm' },
  ]);
  svg.setAttribute('aria-label', 'at most ' + number(top) + ' requests/s in the last five minutes');
}

function latest(values) {
  return values.length === 0 ? null : values[values.length - 1];
}

/** Hides the rows that lack one of the words, or are well when only the others are wanted. */
function filter() {
  const words = byId('filter').value.toLowerCase().split(/\\s+/).filter(Boolean);
  const onlyTroubled = byId('troubled').checked;
  for (const { name, section, rows } of pools.values()) {
    let shown = 0;
    for (const { tr, report } of rows.values()) {
      const text = (name + ' ' + report.url + ' ' + report.state).toLowerCase();
      const isShown = words.every((word) => text.includes(word)) && !(onlyTroubled && report.level === 'good');
      if (tr.hidden === isShown) tr.hidden = !isShown;
      if (isShown) shown += 1;
    }
    const isEmpty = shown === 0 && (words.length > 0 || onlyTroubled);
    if (section.hidden !== isEmpty) section.hidden = isEmpty;
  }
}

byId('filter').addEventListener('input', filter);
byId('troubled').addEventListener('change', filter);
document.addEventListener('keydown', (event) => {
  const field = byId('filter');
  if (event.key === '/' && !event.ctrlKey && !event.metaKey && !event.altKey && event.target !== field) {
    event.preventDefault();
    field.focus();
  } else if (event.key === 'Escape' && event.target === field) {
    field.value = '';
    filter();
  }
});

const THEMES = ['auto', 'light', 'dark'];
theme(remembered());
byId('theme').addEventListener('click', () => {
  const now = document.documentElement.dataset.theme;
  theme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
});

function theme(name) {
  document.documentElement.dataset.theme = name;
  set(byId('theme'), 'theme: ' + name);
  try {
    localStorage.setItem('headrace-theme', name);
  } catch {
    // Storage is turned off: the choice holds for this page alone.
  }
}

function remembered() {
  try {
    const name = localStorage.getItem('headrace-theme');
    return THEMES.includes(name) ? name : 'auto';
  } catch {
    return 'auto';
  }
}

async function act(action, { pool, report: { url } }) {
  const query = new URLSearchParams({ action, pool, upstream: url });
  try {
    const response = await fetch('?' + query, { method: 'POST' });
    say(action + ' ' + url + ': ' + (response.ok ? 'done' : 'refused with ' + response.status));
  } catch {
    say(action + ' ' + url + ': the gateway did not answer');
  }
}

function say(text) {
  set(byId('said'), text);
}

function number(value) {
  if (value === null) return '–';
  if (value > 0 && value < 10 && !Number.isInteger(value)) return value.toFixed(1);
  return Math.round(value).toLocaleString('en');
}

function percent(ratio) {
  return ratio === 0 ? '0 %' : (ratio * 100).toFixed(ratio < 0.1 ? 1 : 0) + ' %';
}

function time(ms) {
  if (ms === null) return '–';
  return ms < 1000 ? ms.toFixed(ms < 10 ? 1 : 0) + ' ms' : (ms / 1000).toFixed(1) + ' s';
}

function size(bytes) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let rest = bytes;
  for (; rest >= 1000 && unit < units.length - 1; unit++) rest /= 1000;
  return rest.toFixed(unit === 0 || rest >= 100 ? 0 : 1) + ' ' + units[unit];
}

/** The time of day, with the date where that is not today's. */
function clock(text) {
  const date = new Date(text);
  const day = date.toDateString() === new Date().toDateString() ? '' : date.toLocaleDateString() + ' ';
  return day + date.toLocaleTimeString([], { hour12: false });
}
`;
