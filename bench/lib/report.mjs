import { ratio, summarize } from './summary.mjs';

/** What the others are compared with: the first of these that was measured. */
const references = ['floor-express', 'floor-node', 'headrace'];

/** One case as a Markdown table, most frugal first. */
export function caseTable({ benchCase, samples, leftOut, rate }) {
  const rows = summarize(samples).sort(
    (a, b) => (a.cpu.median || Infinity) - (b.cpu.median || Infinity),
  );
  const { unit } = benchCase;
  const reference = references.find((name) => name in samples) ?? rows[0].name;
  const columns = {
    proxy: ({ name }) => name,
    [`CPU µs/${unit}`]: ({ cpu }) => number(cpu.median),
    quartiles: ({ cpu }) => range(cpu, number),
    [`of ${reference}`]: ({ name }) => ratioText(ratio(samples, name, reference)),
    [unit === 'MiB' ? 'MiB/s' : `${unit}s/s`]: ({ perSecond }) => whole(perSecond.median),
    'core used': ({ coreUse }) => percent(coreUse.median),
    'p50 ms': ({ p50 }) => milliseconds(p50.median),
    'p99 ms': ({ p99 }) => milliseconds(p99.median),
    'p99.9 ms': ({ p999 }) => milliseconds(p999.median),
    'peak RSS MiB': ({ rssMiB }) => whole(rssMiB),
    errors,
  };
  const cells = rows.map((row) => Object.values(columns).map((column) => column(row)));
  const pace = rate === undefined ? '' : ` (${rate} requests a second)`;
  return [
    `### ${benchCase.name}: ${benchCase.title}${pace}`,
    table(Object.keys(columns), cells),
    ...Object.entries(leftOut).map(([name, reason]) => `Left out: ${name}. ${reason}`),
  ].join('\n\n');
}

export function goalLines(verdicts) {
  return verdicts.map(goalLine).join('\n');
}

function goalLine({ case: name, ours, than, by = 'cpu', atLeast, node, ratio: reached, verdict }) {
  const measured = reached ? ratioText(reached) : '';
  const goal = `${name}, ${by}${node ? ` on Node ${node}` : ''}: ${ours} / ${than} >= ${fixed(atLeast)}`;
  return `${verdict.toUpperCase().padEnd(12)} ${goal.padEnd(72)} ${measured}`.trimEnd();
}

function table(head, rows) {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column].length)),
  );
  const line = (cells) =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join(' | ')} |`;
  const rule = widths.map((width, column) =>
    column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

function errors({ badStatus, socketErrors }) {
  if (badStatus + socketErrors === 0) return '0';
  return `${badStatus} status, ${socketErrors} socket`;
}

function ratioText(value) {
  return value === undefined
    ? ''
    : known(value.median, `${fixed(value.median)} (${range(value, fixed)})`);
}

function range({ low, high }, text) {
  return known(low, `${text(low)} – ${text(high)}`);
}

function number(value) {
  return known(value, value.toFixed(value < 1000 ? 1 : 0));
}

function milliseconds(value) {
  return known(value, value.toFixed(value < 10 ? 2 : 1));
}

function fixed(value) {
  return known(value, value.toFixed(2));
}

function whole(value) {
  return known(value, String(Math.round(value)));
}

function percent(value) {
  return known(value, `${Math.round(value * 100)} %`);
}

/** Some have no process to measure, and some loads no latencies. */
function known(value, text) {
  return Number.isFinite(value) ? text : '';
}
