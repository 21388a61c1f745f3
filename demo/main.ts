import { closeOnSignal } from './close-on-signal.js';
import { load } from './load.js';
import { start } from './start.js';
import { tour } from './tour.js';

const {
  DEMO_GATEWAY_PORT = 8199,
  DEMO_FORWARD_PORT = 8200,
  DEMO_SERVER_PORT = 8198,
  DEMO_SECOND_PORT = 8197,
  DEMO_THIRD_PORT = 8196,
} = process.env;

const ports = {
  gateway: Number(DEMO_GATEWAY_PORT),
  forward: Number(DEMO_FORWARD_PORT),
  server: Number(DEMO_SERVER_PORT),
  second: Number(DEMO_SECOND_PORT),
  third: Number(DEMO_THIRD_PORT),
};
const demo = await start(ports, console.log).catch((error: NodeJS.ErrnoException) => {
  if (error.code !== 'EADDRINUSE') throw error;
  console.error(error.message);
  console.error(
    'Free the port, or set DEMO_GATEWAY_PORT, DEMO_FORWARD_PORT, DEMO_SERVER_PORT, ' +
      'DEMO_SECOND_PORT or DEMO_THIRD_PORT.',
  );
  process.exit(1);
});

// `npm run demo -- --quiet`; without the dashes npm takes the option for its own, and passes it on like this.
const { argv, env } = process;
const isQuiet = argv.includes('--quiet') || env.npm_config_loglevel === 'warn';
const readers = isQuiet ? undefined : load(demo.gateway);

closeOnSignal(async () => {
  console.log('stopping');
  readers?.stop();
  await demo.close();
});

console.log(`
the status page      ${demo.gateway}/status
its metrics          ${demo.gateway}/metrics

the gateway          ${demo.gateway}
the forward proxy    ${demo.forward}
the server backend   ${demo.server}
the second backend   ${demo.second}
the third backend    ${demo.third}
`);
for (const { title, curl } of tour(demo)) console.log(`# ${title}\n${curl}\n`);
console.log(isQuiet ? 'No load.' : 'A small load keeps the charts moving; --quiet turns it off.');
console.log('Ctrl+C ends it. Below is what gateway and proxy log.\n');
