import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { chartScript } from './chart-script.js';
import { markup } from './markup.js';
import { script } from './script.js';
import { style } from './style.js';
import { viewScript } from './view-script.js';

/** The page, in the parts between which the nonce of an answer comes. */
function parts(withActions: boolean): readonly string[] {
  return [
    `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Status</title>
<link rel="icon" href="data:,">
<style nonce="`,
    `">${style}</style>
</head>
<body>${markup(withActions)}
<script nonce="`,
    `">'use strict';${script}${viewScript}${chartScript}</script>
</body>
</html>
`,
  ];
}

const WATCHING = parts(false);
const OPERATING = parts(true);

/** Says what no answer of the status page is to be used for by others. */
export function setCommonFields(res: ServerResponse): void {
  // Without `no-transform`, compression() would keep events back until it has enough of them.
  res.setHeader('Cache-Control', 'no-store, no-transform');
  res.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
  res.setHeader('Referrer-Policy', 'no-referrer');
  res.setHeader('X-Content-Type-Options', 'nosniff');
}

/** The page, under a policy that lets nothing run or load but what is in it. */
export function page(res: ServerResponse, withActions: boolean): string {
  const nonce = randomBytes(16).toString('base64');
  const policy = [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ];
  res.setHeader('Content-Security-Policy', policy.join('; '));
  res.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
  res.setHeader('X-Frame-Options', 'DENY');
  return (withActions ? OPERATING : WATCHING).join(nonce);
}
