import { startContender } from './contender.mjs';
import { entrants } from './contestants.mjs';
import { shuffled } from './stats.mjs';

/**
 * Everything about one case: `{ benchCase, samples, leftOut, rate }`. All proxies run side by side; each round visits
 * every one of them once, in another order, for one short burst.
 */
export async function runCase(benchCase, setting) {
  const { options, contestants } = setting;
  const run = { benchCase, samples: {}, leftOut: {}, rate: undefined };
  const todo = entrants(contestants, benchCase);
  for (const { name } of todo) run.samples[name] = [];
  for (let generation = 1; generation <= options.fresh; generation++) {
    const running = [];
    try {
      await startAll(todo, run, setting, running);
      run.rate ??= await rateFor(benchCase, running, options);
      for (let round = 1; round <= options.rounds; round++) await visitAll(running, run, options);
    } finally {
      await Promise.all(running.map((contender) => contender.close()));
    }
  }
  return run;
}

async function startAll(contestants, run, setting, running) {
  for (const contestant of contestants) {
    await unlessPeerFails(contestant, run, async () => {
      running.push(await startContender(contestant, run.benchCase, setting));
      console.error(`${run.benchCase.name}: ${contestant.name} is warm`);
    });
  }
}

async function visitAll(running, run, options) {
  const seconds = Math.max(options.seconds, run.benchCase.seconds);
  for (const contender of shuffled(running)) {
    await unlessPeerFails(contender, run, async () => {
      const sample = await contender.burst({ seconds, rate: run.rate });
      run.samples[contender.name].push(sample);
    });
  }
  console.error(`${run.benchCase.name}: a round of ${running.length}`);
}

/** A peer that cannot do what a case asks is left out of it, and that is said. Whatever else fails ends the run. */
async function unlessPeerFails({ name, kind }, run, act) {
  if (name in run.leftOut) return;
  try {
    await act();
  } catch (error) {
    if (kind !== 'peer' && kind !== 'native') throw error;
    run.leftOut[name] = error.message.split('\n')[0];
    delete run.samples[name];
  }
}

/** Half of what the slowest takes, so that each of them has time to spare, unless a rate is given. */
async function rateFor({ load }, running, { rate }) {
  if (load !== 'fixed-rate') return undefined;
  if (rate !== undefined) return rate;
  const proxies = running.filter(({ kind }) => kind !== 'none');
  if (proxies.length === 0) throw new Error('There is no proxy whose half could be the rate.');
  const capacities = [];
  for (const proxy of proxies) capacities.push(await proxy.capacity());
  return Math.floor(Math.min(...capacities) / 2);
}
