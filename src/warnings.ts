/** A function of the user's has thrown where nobody else hears of it: the process is warned, and goes on. */
export function warnOfThrown(message: string, error: unknown, code = 'HEADRACE_LISTENER'): void {
  const detail = String(error instanceof Error ? error.stack : error);
  process.emitWarning(message, { type: 'HeadraceWarning', code, detail });
}
