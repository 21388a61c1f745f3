import { createProxyMiddleware, responseInterceptor } from 'http-proxy-middleware';
import { serveMiddleware } from './lib/http-proxy-middleware.mjs';

serveMiddleware({ createProxyMiddleware, responseInterceptor });
