import type { Server } from 'node:http';
import { Router } from 'express';
import { WebSocketServer } from 'ws';

const TICK_MS = 1_000;

/** A page that talks to its server over a WebSocket at its own path, and shows what is said. */
const PAGE = `<!doctype html>
<meta charset="utf-8" />
<title>Messages, live</title>
<h1>Messages, live</h1>
<form><input autofocus placeholder="say something" /> <button>Send</button></form>
<pre></pre>
<script>
  const socket = new WebSocket(location.href.replace(/^http/, 'ws'));
  const show = (line) => document.querySelector('pre').prepend(line + '\\n');
  socket.onopen = () => show('connected');
  socket.onmessage = ({ data }) => show(data);
  socket.onclose = ({ code }) => show('closed with ' + code);
  document.querySelector('form').onsubmit = (event) => {
    event.preventDefault();
    socket.send(document.querySelector('input').value);
    event.target.reset();
  };
</script>
`;

/** The page, for an app. */
export function talkPage(): Router {
  const router = Router();
  router.get('/ws', (_req, res) => {
    res.type('html').send(PAGE);
  });
  return router;
}

/** Gives an app's server a WebSocket, at any path: it says the time each second, and repeats what it is told. */
export function talk(server: Server): void {
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => {
    const timer = setInterval(() => socket.send(new Date().toISOString()), TICK_MS);
    socket.on('message', (message, isBinary) => socket.send(message, { binary: isBinary }));
    socket.on('error', () => {});
    socket.on('close', () => clearInterval(timer));
  });
}
