import express from 'express';
import { serve, upstream } from './lib/serve.mjs';

const entry =
  process.env.BENCH_HEADRACE ?? new URL('../../dist/esm/index.js', import.meta.url).href;
const { forwardedFor, loadBalancer, modifyResponse, proxyPass, rewriteUrl, stripHopHeaders } =
  await import(entry);

const app = express();
app.use(stripHopHeaders());
app.use(forwardedFor());
app.use(rewriteUrl({ '^/nowhere': '/somewhere', '^/api': '' }));
app.use(loadBalancer({ upstreams: [upstream] }));
app.use(
  modifyResponse((response) => {
    response.headers.set('x-proxy', 'magical');
  }),
);
app.use(proxyPass());

serve(app);
