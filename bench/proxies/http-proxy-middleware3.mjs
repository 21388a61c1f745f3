import express from 'express';
import { createProxyMiddleware } from 'http-proxy-middleware3';
import { agent } from './lib/agent.mjs';
import { serve, upstream } from './lib/serve.mjs';

const app = express();
app.use(createProxyMiddleware({ target: upstream, changeOrigin: true, agent }));

serve(app);
