import { closeOnSignal } from '../close-on-signal.js';
import { accounts } from './provider.js';
import { start } from './start.js';

const {
  ZERO_TRUST_GATEWAY_PORT = 8300,
  ZERO_TRUST_PROVIDER_PORT = 8301,
  ZERO_TRUST_UPSTREAM_PORT = 8302,
} = process.env;

const ports = {
  gateway: Number(ZERO_TRUST_GATEWAY_PORT),
  provider: Number(ZERO_TRUST_PROVIDER_PORT),
  upstream: Number(ZERO_TRUST_UPSTREAM_PORT),
};
const demo = await start(ports, console.log).catch((error: NodeJS.ErrnoException) => {
  if (error.code !== 'EADDRINUSE') throw error;
  console.error(error.message);
  console.error(
    'Free the port, or set ZERO_TRUST_GATEWAY_PORT, ZERO_TRUST_PROVIDER_PORT or ZERO_TRUST_UPSTREAM_PORT.',
  );
  process.exit(1);
});

closeOnSignal(async () => {
  console.log('stopping');
  await demo.close();
});

console.log(`
the gateway          ${demo.gateway}
the provider         ${demo.provider}
the upstream         ${demo.upstream}

Open the gateway in a browser, and log in as one of these:
`);
for (const [id, { password, groups }] of accounts) {
  console.log(`  ${id.padEnd(8)} ${password.padEnd(10)} in ${groups.join(' and ')}`);
}
console.log('\nCtrl+C ends it. Below is what the gateway logs.\n');
