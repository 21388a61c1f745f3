import type { Exchange } from './exchange.js';

/** What the client has got; of one that left before, the status that logs have for that, 499. */
export function clientStatus({ res, outcome }: Exchange): number {
  if (res.headersSent) return res.statusCode;
  const status = (outcome?.error as { status?: unknown } | undefined)?.status;
  return typeof status === 'number' ? status : res.statusCode;
}
