import express from 'express';
import httpProxy from 'express-http-proxy';
import { agent } from './lib/agent.mjs';
import { rewrite, serve, upstream } from './lib/serve.mjs';

const app = express();
app.use(
  httpProxy(upstream, {
    parseReqBody: false,
    // It asks for the end of each connection otherwise, whatever the agent wants.
    proxyReqOptDecorator: (options) => ({
      ...options,
      headers: { ...options.headers, connection: 'keep-alive' },
      agent,
    }),
    ...(rewrite && {
      userResDecorator: (_proxyRes, body) =>
        body.toString('utf8').replaceAll(rewrite.from, rewrite.to),
    }),
  }),
);

serve(app);
