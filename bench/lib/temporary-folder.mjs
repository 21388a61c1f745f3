import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder that is gone when `remove()` was called, and at the latest when the harness ends. */
export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'headrace-bench-'));
  const removeNow = () => rmSync(folder, { recursive: true, force: true });
  process.on('exit', removeNow);
  const remove = () => {
    process.off('exit', removeNow);
    removeNow();
  };
  return { folder, remove };
}
