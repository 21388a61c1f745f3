import { gzipSync } from 'node:zlib';
import express, { type Express } from 'express';
import { talkPage } from './talk.js';

/** What stands behind the gateway: an ordinary Express app that knows nothing of headrace. */
export function backend(name: string): Express {
  const app = express();

  // `POST /break` makes it fail until `POST /mend`.
  let broken = false;
  app.post(['/break', '/mend'], (req, res) => {
    broken = req.path === '/break';
    res.send(`the ${name} backend is ${broken ? 'broken' : 'mended'}\n`);
  });
  app.use((_req, res, next) => {
    if (broken) res.status(503).send(`the ${name} backend is broken\n`);
    else next();
  });

  app.get('/', (_req, res) => {
    res.send(`response from ${name} backend\n`);
  });

  app.get('/user/1', (_req, res) => {
    res.send(`user info from ${name} backend\n`);
  });

  app.get('/slow', (_req, res) => {
    setTimeout(() => res.send(`at last, says the ${name} backend\n`), 1_000);
  });

  // It takes a second to write, and is news for ten.
  app.get('/news', (_req, res) => {
    const text = `news from ${name} backend, at ${new Date().toISOString()}\n`;
    setTimeout(() => res.set('Cache-Control', 'max-age=10').send(text), 1_000);
  });

  app.get('/page', (_req, res) => {
    const page = gzipSync(`<h1>Hello from the ${name} backend</h1>\n`);
    res.set({ 'Content-Type': 'text/html; charset=utf-8', 'Content-Encoding': 'gzip' }).send(page);
  });

  app.get('/login', (req, res) => {
    res.append('Set-Cookie', 'session=abc; Domain=backend.example; Path=/; HttpOnly');
    res.redirect(`http://${req.headers.host}/account`);
  });

  app.get('/account', (_req, res) => {
    res.send('the account page\n');
  });

  app.use(talkPage());

  // Shows a request as it arrived here.
  app.all('/echo', express.text({ type: () => true }), (req, res) => {
    const { method, url, headers, body } = req;
    res.json({ method, url, headers, body });
  });

  return app;
}
