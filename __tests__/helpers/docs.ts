import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { transformSync } from '@swc/core';
import { build } from 'esbuild';
import express from 'express';
import * as headrace from 'headrace';
import { closeAfter, serve } from './servers.js';

const root = join(__dirname, '../..');

/** A fenced block of a page, or an example in a comment of the source. */
export interface CodeBlock {
  readonly file: string;
  /** The line on which the code begins, from 1. */
  readonly line: number;
  readonly language: string;
  /** The headings above it, outermost first. */
  readonly headings: readonly string[];
  readonly code: string;
}

/** The pages of the project, as paths from its root. */
export function pages(): string[] {
  const found = readdirSync(root).filter((name) => name.endsWith('.md'));
  for (const folder of ['docs', 'bench']) {
    for (const entry of readdirSync(join(root, folder), { recursive: folder === 'docs' })) {
      const path = join(folder, String(entry));
      if (path.endsWith('.md')) found.push(path);
    }
  }
  return found.sort();
}

/** The text of a file of the project. */
export function read(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

/** The fenced blocks of a page. */
export function codeBlocks(file: string): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  const headings: string[] = [];
  let open: { line: number; language: string; code: string[] } | undefined;
  for (const [i, line] of read(file).split('\n').entries()) {
    const [, fence] = /^```(.*)$/.exec(line) ?? [];
    if (open !== undefined && fence === '') {
      const { code, ...rest } = open;
      blocks.push({ file, headings: [...headings], ...rest, code: `${code.join('\n')}\n` });
      open = undefined;
    } else if (open !== undefined) {
      open.code.push(line);
    } else if (fence !== undefined) {
      open = { line: i + 2, language: fence, code: [] };
    } else {
      const [, marks, title] = /^(#+) (.*)$/.exec(line) ?? [];
      if (marks !== undefined) headings.splice(marks.length - 1, Infinity, title ?? '');
    }
  }
  return blocks;
}

/** The `@example`s in the comments of the source. */
export function sourceExamples(): CodeBlock[] {
  const blocks: CodeBlock[] = [];
  for (const entry of readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = relative(root, join(entry.parentPath, entry.name));
    const text = read(file);
    for (const { index, 1: code = '' } of text.matchAll(/@example\n((?: \* .*\n)+)/g)) {
      blocks.push({
        file,
        line: text.slice(0, index).split('\n').length + 1,
        language: 'ts',
        headings: [],
        code: code.replace(/^ \* /gm, ''),
      });
    }
  }
  return blocks;
}

/** Whether a block stands by itself; others are fragments that go on from `app` and our exports. */
export function isWhole({ code }: CodeBlock): boolean {
  return /^import /m.test(code);
}

/** What a fragment takes for granted. */
export const PREAMBLE = [
  "import { createServer } from 'node:http';",
  "import express from 'express';",
  `import { ${Object.keys(headrace).join(', ')} } from 'headrace';`,
  'const app = express();',
  'declare const upstreams: string[];',
].join(' ');

/** A block in action. */
export interface Run {
  /** Where it listens: the server that it has started, or one for the app that a fragment has added to. */
  readonly url: string;
  /** What it has printed, one entry for each call. */
  readonly printed: string[];
  /** Does what a signal to the process would do. */
  signal(name: string): Promise<void>;
}

/**
 * Runs a block as it is written, but for its ports: `replacements` say where `localhost:3000` is, and
 * what listens on 8080 listens on any free port until the test is over.
 */
export async function run(block: CodeBlock, replacements: Record<string, string>): Promise<Run> {
  const code = replaced(block, 'listening', replacements);

  const app = express().set('env', 'test');
  const printed: string[] = [];
  const print = (...words: unknown[]): void => void printed.push(words.map(String).join(' '));
  const handlers = new Map<string, () => unknown>();
  const handle = (name: string, handler: () => unknown) => handlers.set(name, handler);
  let listening: (server: Server) => void = () => {};
  const started = new Promise<Server>((resolve) => {
    listening = resolve;
  });
  const scope = {
    ...(isWhole(block) ? {} : { app, express, ...headrace }),
    require: (name: string): unknown => (name === 'headrace' ? headrace : require(name)),
    exports: {},
    console: { log: print, error: print },
    process: { on: handle, once: handle },
    listening(this: Server): void {
      listening(this);
    },
  };
  await new AsyncFunction(...Object.keys(scope), compile(code))(...Object.values(scope));

  let url = 'it has started nothing';
  if (code.includes('listening)')) {
    const server = await started;
    closeAfter(
      () =>
        new Promise((done) => {
          server.close(done);
          // Servers of HTTP/2 have no such method, and end with their sessions.
          if ('closeAllConnections' in server) server.closeAllConnections();
        }),
    );
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  } else if (!isWhole(block)) {
    ({ url } = await serve(app));
  }
  return {
    url,
    printed,
    async signal(name) {
      await handlers.get(name)?.();
    },
  };
}

/** Runs a block that is whole in a process of its own, where it gets signals as they are. */
export async function runAlone(
  block: CodeBlock,
  replacements: Record<string, string>,
): Promise<{ readonly url: string; readonly child: ChildProcess }> {
  const directory = await mkdtemp(join(tmpdir(), 'headrace-block-'));
  closeAfter(() => rm(directory, { recursive: true }));
  const outfile = join(directory, 'block.cjs');
  const tell = '() => process.send?.((server.address() as { port: number }).port)';
  await build({
    stdin: { contents: replaced(block, tell, replacements), loader: 'ts', resolveDir: root },
    outfile,
    bundle: true,
    platform: 'node',
    alias: { headrace: join(root, 'src/index.ts') },
  });
  const child = fork(outfile, { stdio: 'inherit' });
  closeAfter(() => child.kill('SIGKILL'));
  const [port] = (await once(child, 'message')) as [number];
  return { url: `http://127.0.0.1:${port}`, child };
}

/** The code of a block, with a free port in place of its own, and a listener for when it listens. */
function replaced(
  { code }: CodeBlock,
  listening: string,
  replacements: Record<string, string>,
): string {
  return Object.entries(replacements).reduce(
    (text, [from, to]) => text.replaceAll(from, to),
    code.replaceAll('.listen(8080)', `.listen(0, '127.0.0.1', ${listening})`),
  );
}

const AsyncFunction = (async () => {}).constructor as new (
  ...source: string[]
) => (...values: unknown[]) => Promise<void>;

function compile(code: string): string {
  return transformSync(code, {
    swcrc: false,
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
    module: { type: 'commonjs' },
  }).code;
}
