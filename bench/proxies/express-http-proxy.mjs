import express from 'express';
import httpProxy from 'express-http-proxy';
import { agent } from './lib/agent.mjs';
import { serve, upstream } from './lib/serve.mjs';

const app = express();
app.use(
  httpProxy(upstream, {
    parseReqBody: false,
    proxyReqOptDecorator: (options) => ({ ...options, agent }),
  }),
);

serve(app);
