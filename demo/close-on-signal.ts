/** Calls `close` when the process is asked to end: by Ctrl+C, or by whatever has started it. */
export function closeOnSignal(close: () => Promise<void>): void {
  let isClosing = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      // A terminal and npm both pass Ctrl+C on, so it comes twice.
      if (isClosing) return;
      isClosing = true;
      void close();
    });
  }
}
