import { checkProxy } from './check.mjs';
import { load, wrk } from './load.mjs';
import { startNative } from './native.mjs';
import { startProxy } from './proxy.mjs';

const START = {
  floor: startProxy,
  headrace: startProxy,
  peer: startProxy,
  native: startNative,
  none,
};
/** Proxies may open so many connections to the upstream, or a few more than there are clients. */
const LEAST_CONNECTIONS = 256;

/** A proxy that runs, answers rightly, and is warm. */
export async function startContender(contestant, benchCase, setting) {
  const { options, node, upstreams } = setting;
  const { certificate } = upstreams;
  const upstream = upstreams.origins[benchCase.upstream];
  const env = environment(benchCase, certificate);
  const at = { core: options.proxyCore, node, upstream, env, benchCase, certificate };
  const proxy = await START[contestant.kind](contestant, at);
  const url = proxy.origin + (contestant.kind === 'none' ? '' : '/api') + benchCase.path;
  const contender = new Contender(contestant, { ...proxy, url, benchCase, options, node });
  try {
    const origins = { proxy: proxy.origin, upstream, benchCase, ca: certificate?.text };
    if (contestant.kind !== 'none') await checkProxy(contestant, origins);
    await contender.warmUp();
  } catch (error) {
    await proxy.close();
    error.message += `\n${proxy.output()}`;
    throw error;
  }
  return contender;
}

class Contender {
  #at;

  constructor({ name, kind }, at) {
    this.name = name;
    this.kind = kind;
    this.close = at.close;
    this.#at = at;
  }

  async warmUp() {
    const { benchCase, options } = this.#at;
    if (options.warmup === 0) return;
    if (benchCase.load === 'fixed-rate') await this.#saturate(options.warmup);
    else await this.burst({ seconds: options.warmup });
  }

  /** How many requests a second it takes at most. */
  async capacity() {
    const { counted } = await this.#saturate(1);
    return (counted.amount / counted.micros) * 1e6;
  }

  async burst({ seconds, rate }) {
    const { url, benchCase, options, node, usage } = this.#at;
    const job = { url, benchCase, seconds, rate };
    return sample(await load({ core: options.loadCore, node }, job, usage));
  }

  #saturate(seconds) {
    const { url, benchCase, options, usage } = this.#at;
    return wrk(options.loadCore, { url, benchCase, seconds }, usage);
  }
}

/** The upstream itself, which shows what the load generator adds to each latency. */
async function none(_contestant, { upstream }) {
  const usage = async () => ({ cpuMicros: NaN, maxRssKiB: NaN });
  return { origin: upstream, usage, output: () => '', close: async () => {} };
}

function environment({ connections, front, env }, certificate) {
  return {
    BENCH_CONNECTIONS: String(Math.max(LEAST_CONNECTIONS, connections + 24)),
    ...(front === 'tls' && { BENCH_CERT: certificate.cert, BENCH_KEY: certificate.key }),
    // Node and Go trust the upstream's certificate by these.
    ...(certificate && { NODE_EXTRA_CA_CERTS: certificate.cert, SSL_CERT_FILE: certificate.cert }),
    ...env,
  };
}

function sample({ before, after, counted }) {
  const { amount, micros, badStatus, socketErrors } = counted;
  const cpu = after.cpuMicros - before.cpuMicros;
  return {
    amount,
    cpuMicros: cpu / amount,
    perCpuSecond: (amount / cpu) * 1e6,
    perSecond: (amount / micros) * 1e6,
    coreUse: cpu / micros,
    p50: counted.p50 / 1000,
    p99: counted.p99 / 1000,
    p999: counted.p999 / 1000,
    rssMiB: after.maxRssKiB / 1024,
    badStatus,
    socketErrors,
  };
}
