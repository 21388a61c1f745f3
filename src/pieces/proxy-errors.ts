import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Attempt } from '../exchange/attempt.js';
import { dropBodyFields } from '../exchange/body-fields.js';
import { isProxyError, type ProxyError } from '../exchange/errors.js';
import { exchangeOf, type Next } from '../exchange/exchange.js';
import { type Callback, callable, inspect, known } from '../options.js';
import { isPromise } from '../promises.js';
import { setErrorFields } from '../transport/answer.js';
import { breakOff } from '../transport/break-off.js';
import { callListener, warnOfThrown } from '../warnings.js';

/** An answer of one's own to an error. */
export interface RenderedError {
  /** A `Content-Type` that fits the body is there without being given. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Objects are sent as JSON. */
  readonly body: string | Uint8Array | object;
}

type Log = Callback<[error: ProxyError, req: IncomingMessage, attempts: readonly Attempt[]], void>;

type Render = Callback<
  [error: ProxyError, req: IncomingMessage, res: ServerResponse],
  RenderedError | undefined
>;

/** Options for {@link proxyErrors}. */
export interface ProxyErrorsOptions {
  /**
   * Is told of every proxy error, with the request and the tries made for it. One that throws or rejects is
   * warned of, and changes no answer.
   */
  readonly log?: Log | undefined;
  /**
   * Makes the answer; nothing returned means the usual one, and so does what throws or cannot be sent, a
   * promise among it. Status and `Retry-After` are set already.
   */
  readonly render?: Render | undefined;
}

/** An error-handling middleware of Express or Connect: they know it by its four parameters. */
export type ErrorHandler = (
  error: unknown,
  req: IncomingMessage,
  res: ServerResponse,
  next: Next,
) => void;

/**
 * Turns proxy errors into clean answers, in the language the client asks for: problem details
 * (RFC 9457), HTML or plain text. What the app has set on `res` stays, unless it describes another body.
 * Other errors go on to the next error handler. Place it last.
 *
 * @example
 * app.use(proxyErrors({ log: (error, req) => console.error(req.url, error.code, error.cause) }));
 */
export function proxyErrors(options: ProxyErrorsOptions = {}): ErrorHandler {
  const { log, render } = known('proxyErrors', options, ['log', 'render']);
  if (log !== undefined) callable('proxyErrors: log', log);
  if (render !== undefined) callable('proxyErrors: render', render);

  return function proxyErrorsMiddleware(error, req, res, next) {
    if (!isProxyError(error)) return next(error);
    if (log !== undefined) {
      callListener('proxyErrors: log() threw', log, error, req, exchangeOf(req, res).attempts);
    }
    if (res.headersSent) {
      breakOff(res);
      return;
    }
    begin(res, error);
    if (render !== undefined && answered(render, error, req, res)) return;
    send(res, usualAnswer(error, req));
  };
}

/** What every answer to an error begins with. */
function begin(res: ServerResponse, error: ProxyError): void {
  dropBodyFields(res);
  res.statusCode = error.status;
  setErrorFields(res, error.headers);
}

/** Whether `render()` has answered. One that fails must not hide what has failed before. */
function answered(
  render: Render,
  error: ProxyError,
  req: IncomingMessage,
  res: ServerResponse,
): boolean {
  try {
    const rendered = render(error, req, res);
    // It may have answered by itself, and fail only then.
    if (isPromise<unknown>(rendered)) rendered.then(undefined, warn);
    if (res.headersSent) return true;
    if (rendered === undefined || rendered === null) return false;
    send(res, rendered);
    return true;
  } catch (cause) {
    warn(cause);
    if (res.headersSent) {
      breakOff(res);
      return true;
    }
    begin(res, error);
    return false;
  }
}

function warn(cause: unknown): void {
  warnOfThrown('proxyErrors: render() has failed', cause);
}

function send(res: ServerResponse, rendered: RenderedError): void {
  const { headers = {}, body } = rendered;
  const bytes = toBytes(body);
  if (bytes === undefined) {
    const wanted = `{ headers, body } or undefined, received ${inspect(rendered)}`;
    throw new TypeError(`proxyErrors: render() must return ${wanted}`);
  }
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
  if (!res.hasHeader('Content-Type')) res.setHeader('Content-Type', typeOf(body));
  if (!res.hasHeader('Cache-Control')) res.setHeader('Cache-Control', 'no-store');
  res.setHeader('Content-Length', bytes.length);
  res.end(bytes);
}

function typeOf(body: RenderedError['body']): string {
  if (typeof body === 'string') return 'text/plain; charset=utf-8';
  return body instanceof Uint8Array ? 'application/octet-stream' : 'application/json';
}

/** The body as it is sent; `undefined` for what is nothing that can be. */
function toBytes(body: unknown): Uint8Array | undefined {
  if (body instanceof Uint8Array) return body;
  const text: unknown = typeof body === 'object' && body !== null ? JSON.stringify(body) : body;
  return typeof text === 'string' ? Buffer.from(text) : undefined;
}

function usualAnswer(error: ProxyError, req: IncomingMessage): RenderedError {
  const title = STATUS_CODES[error.status] ?? 'Error';
  switch (preferredType(req.headers.accept)) {
    case 'html':
      return {
        headers: { 'Content-Type': 'text/html; charset=utf-8' },
        body: page(error.status, title, error.message),
      };
    case 'json':
      return {
        headers: { 'Content-Type': 'application/problem+json' },
        body: {
          type: 'about:blank',
          title,
          status: error.status,
          detail: error.message,
          code: error.code,
        },
      };
    default:
      return {
        headers: { 'Content-Type': 'text/plain; charset=utf-8' },
        body: `${error.status} ${title}: ${error.message}\n`,
      };
  }
}

/** Title and message are our own texts. Some tell what the client has sent, its `Content-Type` for example. */
function page(status: number, title: string, message: string): string {
  const detail = message.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${status} ${title}</title>
<h1>${status} ${title}</h1>
<p>${detail}</p>
</html>
`;
}

type AnswerType = 'json' | 'html' | 'text';

/** The type a client likes best; problem details for clients that take anything. */
function preferredType(accept = '*/*'): AnswerType {
  let best: AnswerType = 'text';
  let bestQuality = 0;
  for (const range of accept.split(',')) {
    const [name = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    const type = answerType(name);
    const quality = Number(parameters.find((part) => part.startsWith('q='))?.slice(2) ?? 1);
    if (type !== undefined && quality > bestQuality) {
      best = type;
      bestQuality = quality;
    }
  }
  return best;
}

function answerType(range: string): AnswerType | undefined {
  if (range === 'text/html' || range === 'application/xhtml+xml') return 'html';
  if (range === 'text/plain' || range === 'text/*') return 'text';
  if (range === '*/*' || range === 'application/*' || /[/+]json$/.test(range)) return 'json';
  return undefined;
}
