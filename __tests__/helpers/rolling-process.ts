/**
 * Run by `rolling-restart.test.ts`: a primary that holds the listening socket, and one gateway at a time in
 * a process of its own. `restart` starts the next one, and then asks the one before to end.
 */
import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { createServer } from 'node:http';
import connect from 'connect';
import { attach, proxyPass } from 'headrace';

async function primary(): Promise<void> {
  let current: Worker | undefined;
  const start = async (): Promise<number> => {
    const before = current;
    current = cluster.fork();
    const [address] = (await once(current, 'listening')) as [{ port: number }];
    if (before !== undefined) {
      before.process.kill('SIGTERM');
      const [code] = (await once(before, 'exit')) as [number | null];
      process.send?.({ ended: code });
    }
    return address.port;
  };
  process.on('message', () => void start());
  process.on('disconnect', () => process.exit());
  process.send?.({ port: await start() });
}

function gateway(): void {
  const pass = proxyPass(process.env.UPSTREAM ?? '');
  const app = connect().use((_req, res, next) => {
    res.setHeader('X-Process', process.pid);
    next();
  });
  app.use(pass as connect.NextHandleFunction);
  const server = createServer(app);
  const attached = attach(server, app);
  server.listen(0, '127.0.0.1');
  process.once('SIGTERM', async () => {
    await attached.close();
    await pass.close();
    process.disconnect();
  });
}

if (cluster.isPrimary) void primary();
else gateway();
