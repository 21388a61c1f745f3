import { read } from './docs.js';

/** A panel of Grafana, as far as tests look at it. */
interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
  readonly panels?: readonly Panel[];
}

/** The dashboard that comes with the project. */
export function dashboard(): { readonly uid: string; readonly panels: readonly Panel[] } {
  return JSON.parse(read('docs/grafana-dashboard.json'));
}

/** Its queries, with what Grafana puts in place of its variables. */
export function dashboardQueries(): string[] {
  return dashboard()
    .panels.flatMap(({ targets = [] }) => targets)
    .map(({ expr }) => expr.replaceAll('$__rate_interval', '1m').replace(/\$\w+/g, '.*'));
}
