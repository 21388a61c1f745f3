/** The labels of one series. */
export type Labels = Readonly<Record<string, string>>;

/** Takes one sample; the suffix tells the parts of a histogram or summary apart. */
export type AddSample = (
  value: number,
  labels?: Labels,
  suffix?: '' | '_bucket' | '_sum' | '_count',
) => void;

/** All series of one name. */
export interface MetricFamily {
  /** As its series are named; that of a counter ends in `_total`. */
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary';
  /** The names of its labels, without those that belong to the type. */
  readonly labels: readonly string[];
  /** Says what stands now. */
  collect(add: AddSample): void;
}

/** The formats that Prometheus reads, by their content types. */
export const TEXT = 'text/plain; version=0.0.4; charset=utf-8';
/** The later one, which says where it ends. */
export const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

/** Writes families out in the text format of Prometheus, or as OpenMetrics. */
export function expose(families: readonly MetricFamily[], openMetrics: boolean): string {
  const lines: string[] = [];
  for (const { name, help, type, collect } of families) {
    // A counter of OpenMetrics is called what it is in the older format without `_total`.
    const called = openMetrics && type === 'counter' ? name.replace(/_total$/, '') : name;
    lines.push(`# HELP ${called} ${escapeHelp(help, openMetrics)}`, `# TYPE ${called} ${type}`);
    const unit = openMetrics ? /_(seconds|bytes)$/.exec(called)?.[1] : undefined;
    if (unit !== undefined) lines.push(`# UNIT ${called} ${unit}`);
    collect((value, labels, suffix = '') => {
      lines.push(`${name}${suffix}${labels === undefined ? '' : written(labels)} ${text(value)}`);
    });
  }
  if (openMetrics) lines.push('# EOF');
  return `${lines.join('\n')}\n`;
}

/** A number as the value of `le` or `quantile`; OpenMetrics wants one way of writing it. */
export function bound(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : text(value);
}

/** Whether a client that accepts this rather has OpenMetrics. */
export function prefersOpenMetrics(accept: string | undefined): boolean {
  if (accept === undefined) return false;
  let openMetrics = 0;
  let older = 0;
  for (const range of accept.split(',')) {
    const [type = '', ...parameters] = range.split(';').map((one) => one.trim().toLowerCase());
    const q = Number(parameter(parameters, 'q') ?? 1);
    const version = parameter(parameters, 'version') ?? '1.0.0';
    if (type === 'application/openmetrics-text') {
      if (version === '1.0.0' || version === '0.0.1') openMetrics = Math.max(openMetrics, q);
    } else if (type === 'text/plain' || type === 'text/*' || type === '*/*') {
      older = Math.max(older, q);
    }
  }
  return openMetrics > 0 && openMetrics >= older;
}

function parameter(parameters: readonly string[], name: string): string | undefined {
  const found = parameters.find((one) => one.startsWith(`${name}=`));
  return found?.slice(name.length + 1).replace(/^"|"$/g, '');
}

/** How labels are written, for those that are kept from one time to the next: most of them are. */
const known = new WeakMap<Labels, string>();

function written(labels: Labels): string {
  let text = known.get(labels);
  if (text === undefined) {
    const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
    text = pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
    known.set(labels, text);
  }
  return text;
}

function text(value: number): string {
  if (value === Infinity) return '+Inf';
  return value === -Infinity ? '-Inf' : String(value);
}

function escapeLabel(value: string): string {
  return /[\\\n"]/.test(value) ? escapeHelp(value, true) : value;
}

function escapeHelp(value: string, quotes: boolean): string {
  const escaped = value.replace(/\\/g, '\\\\').replace(/\n/g, '\\n');
  return quotes ? escaped.replace(/"/g, '\\"') : escaped;
}
