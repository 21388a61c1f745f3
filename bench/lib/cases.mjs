import { rewritten } from './page.mjs';

/**
 * What is asked of every proxy. Paths are without the `/api` of the clients.
 *
 * - `path`, `connections`, `body` (makes it a POST), `fields` (more request header fields): what wrk sends
 * - `load`: the generator that makes the load where wrk cannot, a file in generators/; `settings` are for it
 * - `upstream`: `plain` and `tls` are nginx, `far` is far.mjs; `plain` unless told otherwise
 * - `front`: `tls` makes the proxies speak it to their clients
 * - `unit`: what the CPU time is divided by
 * - `who`: the only ones that can do it
 * - `env`: what the proxies are told besides
 * - `check`: how the answer is checked; by comparing it with the upstream's unless told otherwise
 * - `seconds`: the least length of a burst, where one second holds too few of its units, or is spent on connecting
 */
const all = [
  {
    name: 'small',
    title: 'GET, JSON answer of 150 bytes, 64 connections',
    path: '/small',
    connections: 64,
  },
  {
    name: 'post',
    title: 'POST, JSON body of 1 KiB, 64 connections',
    path: '/post',
    connections: 64,
    body: jsonOf(1024),
  },
  {
    name: 'large',
    title: 'GET, answer of 1 MiB, 16 connections',
    path: '/large',
    connections: 16,
    unit: 'MiB',
  },
  {
    name: 'latency',
    title: 'GET, JSON answer of 150 bytes, at a fixed rate below saturation, 64 connections',
    path: '/small',
    connections: 64,
    load: 'fixed-rate',
  },
  {
    name: 'fields',
    title: 'small, with 20 request header fields',
    path: '/small',
    connections: 64,
    fields: browserFields(),
  },
  {
    name: 'connections',
    title: 'small, 1,000 connections',
    path: '/small',
    connections: 1000,
    seconds: 4,
  },
  {
    name: 'slow',
    title: 'GET, an upstream that takes 50 ms, 1,000 in flight',
    path: '/slow',
    connections: 1000,
    upstream: 'far',
    seconds: 4,
  },
  {
    name: 'huge',
    title: 'GET, answer of 100 MiB, 4 connections',
    path: '/huge',
    connections: 4,
    unit: 'MiB',
    seconds: 2,
  },
  {
    name: 'upload',
    title: 'POST, body of 1 MiB, 16 connections',
    path: '/upload',
    connections: 16,
    load: 'upload',
    settings: { bodyMiB: 1 },
    upstream: 'far',
    unit: 'MiB',
    check: 'upload',
  },
  {
    name: 'huge-upload',
    title: 'POST, body of 100 MiB, 4 connections',
    path: '/upload',
    connections: 4,
    load: 'upload',
    settings: { bodyMiB: 100 },
    upstream: 'far',
    unit: 'MiB',
    check: 'upload',
  },
  {
    name: 'tls-front',
    title: 'small, TLS between client and proxy',
    path: '/small',
    connections: 64,
    front: 'tls',
  },
  {
    name: 'tls-upstream',
    title: 'small, TLS between proxy and upstream',
    path: '/small',
    connections: 64,
    upstream: 'tls',
  },
  {
    name: 'events',
    title: 'server-sent events, 10 a second of 100 bytes, to each of 500 clients',
    path: '/events',
    connections: 500,
    load: 'events',
    upstream: 'far',
    unit: 'event',
    check: 'events',
  },
  {
    name: 'rewrite',
    title: 'GET, HTML of 32 KiB that comes in gzip, a word replaced everywhere, 64 connections',
    path: '/page',
    connections: 64,
    who: [
      'headrace',
      'http-proxy-middleware4',
      'http-proxy-middleware3',
      'express-http-proxy',
      'go-reverse-proxy',
    ],
    env: { BENCH_FROM: rewritten.from, BENCH_TO: rewritten.to },
    check: 'rewrite',
  },
  {
    name: 'upstreams',
    title: 'small, 10,000 upstreams in turn, a connection to each, beside one upstream',
    path: '/small',
    connections: 64,
    who: ['headrace', 'headrace-10000'],
  },
  ...tunnels(),
].map((one) => ({ upstream: 'plain', unit: 'request', check: 'answer', seconds: 1, ...one }));

export const cases = Object.fromEntries(all.map((one) => [one.name, one]));

/** Those of a run that names none. */
export const usual = ['small', 'post', 'large', 'latency'];

function tunnels() {
  const common = {
    load: 'tunnels',
    path: '/tunnel',
    upstream: 'far',
    env: { BENCH_ATTACH: 'yes' },
    check: 'tunnel',
    who: [
      'headrace',
      'http-proxy',
      'httpxy',
      'http-proxy-middleware4',
      'http-proxy-middleware3',
      'go-reverse-proxy',
      'nginx',
      'haproxy',
    ],
  };
  return [
    {
      ...common,
      name: 'echo',
      title: 'messages of 128 bytes there and back, one at a time through each of 50 tunnels',
      connections: 50,
      settings: { kind: 'messages' },
      unit: 'message',
    },
    {
      ...common,
      name: 'echo-bulk',
      title: 'as many bytes as go there and back through 8 tunnels',
      connections: 8,
      settings: { kind: 'bulk' },
      unit: 'MiB',
    },
    {
      ...common,
      name: 'tunnels',
      title: 'tunnels opened and closed again, 16 at a time',
      connections: 16,
      settings: { kind: 'handshakes' },
      unit: 'tunnel',
    },
  ];
}

function jsonOf(bytes) {
  const frame = '{"text":""}';
  return `{"text":"${'x'.repeat(bytes - frame.length)}"}`;
}

/** What a browser says of itself, up to 20 fields with `Host`, `Accept` and `User-Agent`, which wrk sends anyway. */
function browserFields() {
  return {
    'Accept-Encoding': 'identity',
    'Accept-Language': 'en-GB,en;q=0.8,de;q=0.6',
    'Cache-Control': 'no-cache',
    Cookie: 'session=7c9e6679f7425f40de944be07fc1f90a; theme=dark; consent=all',
    DNT: '1',
    'If-None-Match': '"none"',
    Origin: 'https://www.example.org',
    Pragma: 'no-cache',
    Priority: 'u=1, i',
    Referer: 'https://www.example.org/orders?page=2',
    'Sec-CH-UA': '"Chromium";v="140", "Not A Brand";v="24"',
    'Sec-CH-UA-Mobile': '?0',
    'Sec-CH-UA-Platform': '"Linux"',
    'Sec-Fetch-Dest': 'empty',
    'Sec-Fetch-Mode': 'cors',
    'Sec-Fetch-Site': 'same-origin',
    'X-Requested-With': 'XMLHttpRequest',
  };
}
