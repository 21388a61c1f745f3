import { createProxyMiddleware, responseInterceptor } from 'http-proxy-middleware3';
import { serveMiddleware } from './lib/http-proxy-middleware.mjs';

serveMiddleware({ createProxyMiddleware, responseInterceptor });
