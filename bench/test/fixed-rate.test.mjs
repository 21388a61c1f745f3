import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { it } from 'node:test';

const SCRIPT = new URL('../lib/generators/fixed-rate.mjs', import.meta.url);
const STALL_MS = 200;

it('charges a stall to every request that was due in it', async (t) => {
  let seen = 0;
  const server = createServer((_req, res) => {
    // One slow answer, for which the only connection has to wait.
    setTimeout(() => res.end('ok'), ++seen === 20 ? STALL_MS : 0);
  });
  t.after(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');

  const url = `http://127.0.0.1:${server.address().port}/`;
  const job = JSON.stringify({ url, connections: 1, rate: 100, seconds: 1 });
  const child = fork(SCRIPT, [job]);
  t.after(() => child.kill());
  await once(child, 'message');
  assert.ok(seen > 0, 'it has not warmed up');
  seen = 0;
  child.send('go');
  const [counted] = await once(child, 'message');

  assert.equal(seen, 100);
  assert.equal(counted.amount, 100);
  assert.equal(counted.socketErrors, 0);
  // Of a hundred, one was slow and some twenty waited: were only the slow one counted, p99 would not see it.
  assert.ok(counted.p99 > (STALL_MS - 30) * 1000, `p99 is ${counted.p99} µs`);
});
