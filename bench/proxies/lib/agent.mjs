import { Agent } from 'node:http';
import { maxConnections } from './serve.mjs';

/** The keep-alive agent that the documentation of the http-proxy family recommends. */
export const agent = new Agent({
  keepAlive: true,
  maxSockets: maxConnections,
  maxFreeSockets: maxConnections,
});
