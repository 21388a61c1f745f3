import { createServer } from 'node:http';
import express from 'express';
import { upstream } from '../lib/serve.mjs';

const { attach, proxyPass } = await import('../../../dist/esm/index.js');

const app = express();
app.use(proxyPass(upstream));
const server = createServer(app);
attach(server, app);
server.listen(Number(process.env.PORT), '127.0.0.1', 4_096);
