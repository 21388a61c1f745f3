import { ratio, summarize } from './summary.mjs';

const REFERENCE = 'floor-express';

/** One case as a Markdown table, most frugal first. */
export function caseTable(benchCase, samplesByName) {
  const rows = summarize(samplesByName)
    .sort((a, b) => a.cpuPerRequest.median - b.cpuPerRequest.median)
    .map((row) => [
      row.name,
      number(row.cpuPerRequest.median),
      range(row.cpuPerRequest),
      ratioText(ratio(samplesByName, row.name, REFERENCE)),
      whole(row.perCpuSecond.median),
      whole(row.perSecond.median),
      percent(row.coreUse.median),
      number(row.p50.median),
      number(row.p99.median),
      whole(row.rssMiB.max),
      errors(row),
    ]);
  const head = [
    'proxy',
    'CPU µs/request',
    'min – max',
    `of ${REFERENCE}`,
    'requests/CPU s',
    'requests/s',
    'core used',
    'p50 ms',
    'p99 ms',
    'peak RSS MiB',
    'errors',
  ];
  return `### ${benchCase.name}: ${benchCase.title}\n\n${table(head, rows)}`;
}

export function goalLines(verdicts) {
  return verdicts
    .map(({ case: name, ours, than, atLeast, ratio: reached, verdict }) => {
      const measured = reached
        ? `${fixed(reached.median)} (${fixed(reached.min)} – ${fixed(reached.max)})`
        : '';
      return `${verdict.toUpperCase().padEnd(12)} ${name}: ${ours} / ${than} >= ${fixed(atLeast)}  ${measured}`.trimEnd();
    })
    .join('\n');
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
    : `${fixed(value.median)} (${fixed(value.min)} – ${fixed(value.max)})`;
}

function range({ min, max }) {
  return `${number(min)} – ${number(max)}`;
}

function number(value) {
  return value.toFixed(value < 1000 ? 1 : 0);
}

function fixed(value) {
  return value.toFixed(2);
}

function whole(value) {
  return String(Math.round(value));
}

function percent(value) {
  return `${Math.round(value * 100)} %`;
}
