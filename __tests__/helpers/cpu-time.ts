/** How long something that runs in one go kept this process busy, in milliseconds, whatever else the machine does. */
export function cpuMilliseconds(run: () => void): number {
  const before = process.cpuUsage();
  run();
  return process.cpuUsage(before).user / 1_000;
}
