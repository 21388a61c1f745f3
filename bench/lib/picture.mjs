import { summarize } from './summary.mjs';

const WIDTH = 760;
const NAMES = 190;
const VALUES = 60;
const ROW = 26;
const BAR = 16;
const TOP = 56;
const PLOT = WIDTH - NAMES - VALUES;

/**
 * A case as bars: CPU time for one unit of work, most frugal first, with a line from quartile to quartile. Drawn for
 * light and dark pages alike; where a page does not say, the reader's system does.
 */
export function picture({ benchCase, samples }) {
  const rows = summarize(samples)
    .filter(({ cpu }) => Number.isFinite(cpu.median))
    .sort((a, b) => a.cpu.median - b.cpu.median);
  const longest = Math.max(...rows.map(({ cpu }) => cpu.high));
  const height = TOP + rows.length * ROW + 12;
  const title = `CPU µs per ${benchCase.unit}, less is better`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(`${title}. ${spoken(rows)}`)}">
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 15px; }
  .quiet { fill: #59636e; }
  .other { fill: #8c959f; }
  .floor { fill: #b6bec7; }
  .ours { fill: #0969da; }
  .spread { stroke: #1f2328; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .quiet { fill: #9198a1; }
    .other { fill: #6e7681; }
    .floor { fill: #484f58; }
    .ours { fill: #4493f8; }
    .spread { stroke: #e6edf3; }
  }
</style>
<text class="title" x="8" y="22">${escaped(title)}</text>
<text class="quiet" x="8" y="42">${escaped(benchCase.title)}</text>
${rows.map((row, i) => bar(row, TOP + i * ROW, longest)).join('\n')}
</svg>
`;
}

function bar({ name, cpu }, top, longest) {
  const scale = (value) => ((value / longest) * PLOT).toFixed(1);
  const middle = top + BAR / 2;
  const end = Number(scale(Math.max(cpu.high, cpu.median)));
  const x = (value) => (NAMES + Number(scale(value))).toFixed(1);
  return [
    `<text x="${NAMES - 8}" y="${top + 13}" text-anchor="end">${escaped(name)}</text>`,
    `<rect class="${kindOf(name)}" x="${NAMES}" y="${top}" width="${scale(cpu.median)}" height="${BAR}" rx="2"/>`,
    `<line class="spread" x1="${x(cpu.low)}" y1="${middle}" x2="${x(cpu.high)}" y2="${middle}"/>`,
    `<text class="quiet" x="${(NAMES + end + 6).toFixed(1)}" y="${top + 13}">${cpu.median.toFixed(1)}</text>`,
  ].join('\n');
}

function kindOf(name) {
  if (name.startsWith('headrace')) return 'ours';
  return name.startsWith('floor') ? 'floor' : 'other';
}

function spoken(rows) {
  return rows.map(({ name, cpu }) => `${name} ${cpu.median.toFixed(1)}`).join(', ');
}

function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
