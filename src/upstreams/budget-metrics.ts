import type { MetricFamily } from '../exchange/exposition.js';

/** How much a budget has left; `retry()` gives one. */
export interface BudgetGauge {
  /** Retries that there could be now; `Infinity` without a budget. */
  readonly retriesLeft: number;
}

/** What the budgets of retries have left, by name. */
export function budgetFamilies(budgets: Readonly<Record<string, BudgetGauge>>): MetricFamily[] {
  return [
    {
      name: 'headrace_retry_budget_left',
      help: 'Retries that a budget has left.',
      type: 'gauge',
      labels: ['budget'],
      collect: (add) => {
        for (const [budget, { retriesLeft }] of Object.entries(budgets)) {
          if (Number.isFinite(retriesLeft)) add(retriesLeft, { budget });
        }
      },
    },
  ];
}
