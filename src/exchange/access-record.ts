import type { IncomingMessage } from 'node:http';
import type { Upstream } from '../upstreams/upstream.js';
import type { Attempt } from './attempt.js';
import { clientStatus } from './client-status.js';
import { causeCode } from './errors.js';
import type { Exchange } from './exchange.js';
import type { OutcomeType } from './outcome.js';
import type { Redact } from './redact.js';

/** One try, as a log has it. */
export interface AccessAttempt {
  readonly upstream: string;
  /** The status it brought. */
  readonly status: number | undefined;
  /** The code of the error it ended with, and that of what the system, TLS or the parser said. */
  readonly error: string | undefined;
  readonly cause: string | undefined;
  /** How long it waited for a connection: for a new one to be made, or for one to come free. */
  readonly connectMs: number | undefined;
  /** From its beginning to the head of the response. */
  readonly headMs: number | undefined;
}

/** What a log keeps of an exchange. Always the same fields; what is not known is `undefined`. */
export interface AccessRecord {
  /** How it ended. */
  readonly outcome: OutcomeType;
  /** The status that the client got; 499 when it left before there was one. */
  readonly status: number;
  /** The method and the target as the client sent them, secrets masked. */
  readonly method: string;
  readonly url: string;
  readonly httpVersion: string;
  /** The path that was sent at last, secrets masked; `undefined` when nothing was. */
  readonly path: string | undefined;
  /** Where it went at last. */
  readonly upstream: string | undefined;
  /** The code of what went wrong, also of what a fallback made up for. */
  readonly error: string | undefined;
  /** The code of what is behind it, as the system, TLS or the parser names it: `ECONNREFUSED`. */
  readonly cause: string | undefined;
  /** Whether a fallback has answered in place of an error. */
  readonly degraded: boolean;
  /** Every try, in order, and how many there were after the first. */
  readonly attempts: readonly AccessAttempt[];
  readonly retries: number;
  /** Body bytes that went to the upstream, and that came from it. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** When it began, in milliseconds since 1970. */
  readonly startedAt: number;
  /** From there to the end. */
  readonly durationMs: number;
  /** From there to the first try: middleware, limits and their queues. */
  readonly queueMs: number | undefined;
  /** How long the last try waited for a connection. */
  readonly connectMs: number | undefined;
  /** From the beginning to the head of the last response. */
  readonly headMs: number | undefined;
  /** The client's address, as far as it is believed. */
  readonly client: string | undefined;
  /** Who the client has proved to be. */
  readonly user: string | undefined;
  readonly userAgent: string | undefined;
  readonly referer: string | undefined;
  readonly requestId: string | undefined;
  readonly traceId: string | undefined;
}

/** What is to be said of an exchange that has ended. */
export function accessRecord(exchange: Exchange, redact: Redact): AccessRecord {
  const { req, attempts, outcome, startedAt } = exchange;
  const first = attempts[0];
  const last = attempts.length === 1 ? first : attempts[attempts.length - 1];
  const durationMs = outcome?.durationMs ?? performance.now() - startedAt;
  const { referer } = req.headers;
  const target = targetOf(req);
  const url = redact(target);
  return {
    outcome: outcome?.type ?? 'completed',
    status: clientStatus(exchange),
    method: req.method ?? '',
    url,
    httpVersion: req.httpVersion,
    path: last?.path === target ? url : last?.path && redact(last.path),
    upstream: urlOf(upstreamOf(exchange), redact),
    error: errorCode(outcome?.error),
    cause: causeCode(outcome?.error),
    degraded: outcome?.degraded ?? false,
    attempts: attempts.map((attempt) => accessAttempt(attempt, redact)),
    retries: Math.max(0, attempts.length - 1),
    bytesSent: exchange.bytesSent,
    bytesReceived: exchange.bytesReceived,
    startedAt: Math.round(Date.now() - durationMs),
    durationMs: rounded(durationMs),
    queueMs: span(startedAt, first?.startedAt),
    connectMs: last && span(last.startedAt, last.sentAt),
    headMs: span(startedAt, last?.headAt),
    client: exchange.clientAddress,
    user: exchange.identity?.subject,
    userAgent: req.headers['user-agent'],
    referer: referer && redact(referer),
    requestId: exchange.requestId,
    traceId: exchange.traceId,
  };
}

function accessAttempt(attempt: Attempt, redact: Redact): AccessAttempt {
  const { upstream, startedAt, sentAt, headAt, status, error } = attempt;
  return {
    upstream: urlOf(upstream, redact) as string,
    status,
    error: error?.code,
    cause: causeCode(error),
    connectMs: span(startedAt, sentAt),
    headMs: span(startedAt, headAt),
  };
}

/** The upstream that was asked, or would have been; nothing where an answer came from elsewhere. */
export function upstreamOf(exchange: Exchange): Upstream | undefined {
  const { attempts, upstream, outcome, failure, degraded } = exchange;
  const error = outcome?.error ?? failure ?? degraded;
  return attempts.at(-1)?.upstream ?? (error === undefined ? undefined : upstream);
}

/** The target as the client sent it; Express and Connect cut mount paths off `url`. */
function targetOf(req: IncomingMessage & { originalUrl?: string }): string {
  return req.originalUrl ?? req.url ?? '';
}

function urlOf(upstream: Attempt['upstream'] | undefined, redact: Redact): string | undefined {
  if (upstream === undefined) return undefined;
  return upstream.query === '' ? upstream.url : redact(upstream.url);
}

/** The code of an error; its name, or what it is, where it has none. */
export function errorCode(error: unknown): string | undefined {
  if (error === undefined) return undefined;
  if (!(error instanceof Error)) return typeof error;
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}

function span(from: number, to: number | undefined): number | undefined {
  return to === undefined ? undefined : rounded(to - from);
}

/** To the microsecond: more digits would only make lines longer. */
function rounded(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}
