/** The oldest release of each line of Node whose HTTP parser has the fixes of March 2026. */
const FLOORS = [
  [20, 20, 2],
  [22, 22, 2],
  [24, 14, 1],
] as const;

let warned = false;

/** Warns, once a process, of a runtime that lets through what a proxy relies on being refused. */
export function warnOfRuntime(
  version: string = process.versions.node,
  flags: string = parserFlags(),
): void {
  if (warned) return;
  const warning = runtimeWarning(version, flags);
  if (warning === undefined) return;
  warned = true;
  process.emitWarning(warning, { type: 'HeadraceWarning', code: 'HEADRACE_RUNTIME' });
}

/** What is wrong with a runtime, if anything is. */
export function runtimeWarning(version: string, flags: string): string | undefined {
  if (/--insecure[-_]http[-_]parser/.test(flags)) {
    return 'the process runs with --insecure-http-parser, which lets smuggled requests through';
  }
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number);
  // Lines that had ended by then, 21 and 23 among them, never got the fixes: the next line has them.
  const floor = FLOORS.find(([line]) => line >= major);
  if (floor === undefined) return undefined;
  const [line, ...rest] = floor;
  if (line === major && (minor > rest[0] || (minor === rest[0] && patch >= rest[1])))
    return undefined;
  return `Node ${version} has known flaws in its HTTP parser: use ${floor.join('.')} or later`;
}

function parserFlags(): string {
  return `${process.execArgv.join(' ')} ${process.env.NODE_OPTIONS ?? ''}`;
}
