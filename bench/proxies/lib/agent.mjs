import * as http from 'node:http';
import * as https from 'node:https';
import { maxConnections, upstream } from './serve.mjs';

const { Agent } = upstream.startsWith('https:') ? https : http;

/** The keep-alive agent that the documentation of the http-proxy family recommends. */
export const agent = new Agent({
  keepAlive: true,
  maxSockets: maxConnections,
  maxFreeSockets: maxConnections,
});
