import { checkProxy } from './check.mjs';
import { load } from './load.mjs';
import { startNative } from './native.mjs';
import { startProxy } from './proxy.mjs';

/**
 * One sample: a fresh process, checked, warmed up, then measured. Fresh each time because V8 compiles the
 * same program a little differently in every process, and that luck should average out.
 */
export async function measure(contestant, benchCase, { options, node, upstream }) {
  const { proxyCore, loadCore, warmup, seconds } = options;
  const launch = contestant.kind === 'native' ? startNative : startProxy;
  const proxy = await launch(contestant, { core: proxyCore, node, upstream });
  try {
    await checkProxy(contestant, proxy.origin, upstream, benchCase);
    const url = `${proxy.origin}/api${benchCase.path}`;
    if (warmup > 0) await load(loadCore, url, benchCase, warmup);
    const before = await proxy.usage();
    const counted = await load(loadCore, url, benchCase, seconds);
    const after = await proxy.usage();
    return sample(counted, after.cpuMicros - before.cpuMicros, after.maxRssKiB);
  } catch (error) {
    error.message += `\n${proxy.output()}`;
    throw error;
  } finally {
    await proxy.close();
  }
}

function sample(counted, cpuMicros, maxRssKiB) {
  const { requests, micros } = counted;
  return {
    requests,
    cpuPerRequest: cpuMicros / requests,
    perCpuSecond: (requests / cpuMicros) * 1e6,
    perSecond: (requests / micros) * 1e6,
    coreUse: cpuMicros / micros,
    p50: counted.p50 / 1000,
    p99: counted.p99 / 1000,
    rssMiB: maxRssKiB / 1024,
    badStatus: counted.badStatus,
    socketErrors: counted.socketErrors + counted.timeouts,
  };
}
