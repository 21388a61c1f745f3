/**
 * The script of the page: follows the stream of events, and fills in what it says. Whatever comes from
 * outside becomes text and nothing else.
 */
export const script = `
const POOL_POINTS = 300;
const POINTS = 60;
const byId = (id) => document.getElementById(id);
const pools = new Map();

/** Draws the little charts of the rows that can be seen. */
const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.row.isSeen = isIntersecting;
    if (isIntersecting) drawRow(target.row);
  }
}, { rootMargin: '200px' });

connect();

function connect() {
  const stream = new EventSource('?format=events');
  stream.addEventListener('snapshot', ({ data }) => {
    const snapshot = JSON.parse(data);
    set(byId('title'), snapshot.title);
    document.title = snapshot.title;
    const names = new Set(snapshot.pools.map(({ name }) => name));
    for (const [name, view] of pools) {
      if (!names.has(name)) {
        view.section.remove();
        pools.delete(name);
      }
    }
    for (const pool of snapshot.pools) {
      const view = pools.get(pool.name) ?? addPool(pool.name);
      view.history = pool.history;
      arrange(view, pool.upstreams.map(({ id }) => id));
      for (const upstream of pool.upstreams) view.rows.get(upstream.id).history = upstream.history;
      fill(view, pool);
      drawPool(view);
      for (const row of view.rows.values()) if (row.isSeen) drawRow(row);
    }
    filter();
    alive(snapshot.at);
  });
  stream.addEventListener('frame', ({ data }) => {
    const frame = JSON.parse(data);
    for (const pool of frame.pools) {
      const view = pools.get(pool.name);
      if (pool.order !== undefined) arrange(view, pool.order);
      fill(view, pool);
      append(view.history, POOL_POINTS, frame.steps, {
        requestsPerSecond: pool.requestsPerSecond,
        errorsPerSecond: pool.errorsPerSecond,
        p50: pool.latencyMs.p50,
        p95: pool.latencyMs.p95,
        p99: pool.latencyMs.p99,
        inFlight: pool.inFlight,
      });
      drawPool(view);
      if (frame.points > 0) for (const row of view.rows.values()) appendTo(row, frame.points);
    }
    filter();
    alive(frame.at);
  });
  stream.onerror = () => {
    document.body.dataset.live = 'no';
    set(byId('link'), 'connection lost, trying again');
    // After an answer that is no stream, such as 401, the browser gives up.
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 5000);
  };
}

function alive(at) {
  document.body.dataset.live = 'yes';
  set(byId('link'), 'live, ' + clock(at));
}

function addPool(name) {
  const section = byId('pool').content.firstElementChild.cloneNode(true);
  section.querySelector('h2').textContent = name;
  section.querySelector('.scroll').setAttribute('aria-label', 'Upstreams of ' + name);
  const view = {
    name,
    section,
    body: section.querySelector('tbody'),
    figures: [...section.querySelectorAll('figure')],
    sums: new Map(),
    rows: new Map(),
    history: {},
  };
  byId('pools').append(section);
  pools.set(name, view);
  return view;
}

/** Makes the rows those of the list, in its order. */
function arrange(view, ids) {
  const wanted = new Set(ids);
  for (const [id, row] of view.rows) {
    if (!wanted.has(id)) {
      sight.unobserve(row.tr);
      row.tr.remove();
      view.rows.delete(id);
    }
  }
  let before = view.body.firstElementChild;
  for (const id of ids) {
    const row = view.rows.get(id) ?? addRow(view, id);
    if (row.tr === before) before = before.nextElementSibling;
    else view.body.insertBefore(row.tr, before);
  }
}

function addRow(view, id) {
  const tr = byId('upstream').content.firstElementChild.cloneNode(true);
  const cells = {};
  for (const cell of tr.children) cells[cell.className] = cell;
  const row = { tr, cells, pool: view.name, report: {}, isSeen: false, history: { requestsPerSecond: [], errorsPerSecond: [] } };
  row.buttons = [...tr.querySelectorAll('button')];
  for (const button of row.buttons) {
    button.addEventListener('click', () => act(button.dataset.action, row));
  }
  tr.row = row;
  view.rows.set(id, row);
  sight.observe(tr);
  return row;
}

function fill(view, pool) {
  const leaving = pool.draining === 0 ? '' : ', ' + pool.draining + ' draining';
  sum(view, 'eligible', pool.eligible + ' of ' + pool.of + leaving);
  sum(view, 'requests/s', number(pool.requestsPerSecond));
  sum(view, 'errors', percent(pool.errorRatio));
  for (const q of ['p50', 'p95', 'p99']) sum(view, q, time(pool.latencyMs[q]));
  sum(view, 'in flight', number(pool.inFlight));
  sum(view, 'retries', number(pool.retries));
  sum(view, 'sent / received', size(pool.bytesSent) + ' / ' + size(pool.bytesReceived));
  for (const report of pool.upstreams) fillRow(view.rows.get(report.id), report);
}

function sum(view, name, text) {
  let value = view.sums.get(name);
  if (value === undefined) {
    const pair = document.createElement('div');
    const term = document.createElement('dt');
    term.textContent = name;
    value = document.createElement('dd');
    pair.append(term, value);
    view.section.querySelector('.sum').append(pair);
    view.sums.set(name, value);
  }
  set(value, text);
}

/** The name of a row, which stays as it is. */
function name(row, url) {
  row.cells.url.textContent = url;
  row.cells.url.title = url;
  for (const button of row.buttons) button.setAttribute('aria-label', button.dataset.action + ' ' + url);
}

function fillRow(row, report) {
  const { tr, cells } = row;
  const before = row.report.state;
  if (before === undefined) name(row, report.url);
  row.report = report;
  tr.dataset.level = report.level;
  if (before !== undefined && before !== report.state) say(report.url + ' is ' + report.state);
  const others = report.bars.filter((bar) => bar !== report.state).join(', ');
  set(cells.state, report.state + (others && ' (' + others + ')') + ' since ' + clock(report.since));
  const { circuit } = report;
  set(cells.circuit, circuit === null ? '–' : circuit.state + ' since ' + clock(circuit.since));
  set(cells.rate, number(report.requestsPerSecond));
  set(cells.errors, percent(report.errorRatio));
  for (const q of ['p50', 'p95', 'p99']) set(cells[q], time(report.latencyMs[q]));
  set(cells.flying, number(report.inFlight));
  set(cells.retries, number(report.retries));
  set(cells.bytes, size(report.bytesSent) + ' / ' + size(report.bytesReceived));
  const isLeaving = report.state === 'draining';
  const isHeld = report.bars.includes('held');
  const isOut = isHeld || report.bars.includes('ejected');
  const focused = document.activeElement;
  for (const button of row.buttons) {
    button.disabled = isLeaving || (button.dataset.action === 'resume' ? !isOut : isHeld);
  }
  // Whoever goes by keyboard goes on from what can be pressed next.
  if (row.buttons.some((button) => button === focused && button.disabled)) {
    row.buttons.find((button) => !button.disabled)?.focus();
  }
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function append(history, most, times, values) {
  for (const [name, value] of Object.entries(values)) {
    const line = history[name];
    for (let i = Math.min(times, most); i > 0; i--) line.push(value);
    if (line.length > most) line.splice(0, line.length - most);
  }
}

function appendTo(row, times) {
  const { requestsPerSecond, errorsPerSecond } = row.report;
  append(row.history, POINTS, times, { requestsPerSecond, errorsPerSecond });
  if (row.isSeen) drawRow(row);
}
`;
