import express from 'express';
import { agent } from './agent.mjs';
import { rewrite, serve, upstream } from './serve.mjs';

/** Both versions are used in the same way; what differs is inside. */
export function serveMiddleware({ createProxyMiddleware, responseInterceptor }) {
  const replaceAll = async (body) => body.toString().replaceAll(rewrite.from, rewrite.to);
  const proxy = createProxyMiddleware({
    target: upstream,
    changeOrigin: true,
    agent,
    ...(rewrite && {
      selfHandleResponse: true,
      on: { proxyRes: responseInterceptor(replaceAll) },
    }),
  });
  const app = express();
  app.use(proxy);

  serve(app, proxy.upgrade);
}
