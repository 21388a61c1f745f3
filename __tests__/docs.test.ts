import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import * as headrace from 'headrace';
import {
  type CodeBlock,
  codeBlocks,
  isWhole,
  PREAMBLE,
  pages,
  read,
  sourceExamples,
} from './helpers/docs.js';

const root = join(__dirname, '..');
const readme = read('README.md');

/** Options that are listed elsewhere than under the name of a piece: the heading, and what they stand in. */
const PLACES: Readonly<Record<string, readonly [heading: string, within?: string]>> = {
  ActiveHealthOptions: ['Active health'],
  ConcurrencyQueueOptions: ['concurrencyLimit', 'queue.'],
  HealthOptions: ['Health'],
  JwksOptions: ['bearerJwt', 'jwks.'],
  PassiveHealthOptions: ['Passive health'],
  RetryBackoffOptions: ['retry', 'backoff.'],
  RetryBudgetOptions: ['retry', 'budget.'],
  ServerTimeoutOptions: ['attach'],
  StickyOptions: ['Sticky sessions'],
  UpstreamPoolOptions: ['UpstreamPool'],
  UpstreamOptions: ['Upstream'],
};

describe('the README', () => {
  it.each(['npm install && npm run demo', 'npm install && npm test'])('says %s', (command) => {
    expect(codeBlocks('README.md').map(({ code }) => code)).toContain(`${command}\n`);
  });

  it('names everything that is exported', () => {
    expect(
      Object.keys(headrace).filter((name) => !new RegExp(`\\b${name}\\b`).test(readme)),
    ).toEqual([]);
  });

  it('has a row for every error code, with its status and its class', () => {
    const rows = tableRows(section('Errors')).map(([code, status, name]) => [code, status, name]);
    expect(rows).toEqual(
      Object.values(headrace.ProxyErrorCode).map((code) => {
        const [name, status] = errorOf(code);
        return [`\`${code}\``, String(status), `\`${name}\``];
      }),
    );
  });

  it.each(optionTables())(
    'lists the options of $heading, with their defaults',
    ({ heading, options }) => {
      const rows = tableRows(section(heading));
      const listed = new Map(
        rows.map(([name = '', value = '']) => [
          unquoted(name),
          unquoted(value).replace('required', ''),
        ]),
      );
      expect(listed).toEqual(options);
    },
  );
});

describe('code in the pages and in comments', () => {
  it('type checks', async () => {
    const blocks = [...pages().flatMap(codeBlocks), ...sourceExamples()].filter(({ language }) =>
      ['js', 'ts'].includes(language),
    );
    expect(blocks.length).toBeGreaterThan(30);
    expect(await typeErrors(blocks)).toBe('');
  }, 180_000);
});

describe('links', () => {
  it.each(pages())('of %s lead somewhere', (page) => {
    const broken = linksOf(page).filter((link) => !resolves(page, link));
    expect(broken).toEqual([]);
  });
});

/** What stands under a heading of the README, up to the next one. */
function section(title: string): string {
  const [, text = ''] = readme.split(new RegExp(`^##+ ${title}$`, 'm'));
  return text.split(/^##+ /m)[0] ?? '';
}

/** The cells of the tables in a text, without heads and rules. */
function tableRows(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

function unquoted(cell: string): string {
  return cell.replace(/^`|`$/g, '');
}

function errorOf(code: string): [name: string, status: number] {
  for (const [name, value] of Object.entries(headrace)) {
    if (typeof value !== 'function' || !(value.prototype instanceof headrace.ProxyError)) continue;
    const error = new (value as new () => headrace.ProxyError)();
    if (error.code === code) return [name, error.status];
  }
  throw new Error(`no class for ${code}`);
}

interface OptionTable {
  readonly heading: string;
  /** Names, with the default that the comment in the source gives. */
  readonly options: Map<string, string>;
}

/** The options that the source declares, by the heading under which they are listed. */
function optionTables(): OptionTable[] {
  const files = ['.', 'transport', 'upstreams', 'identity', 'pieces', 'server'].flatMap(filesIn);
  const declared = new Map(files.flatMap((file) => optionTypes(read(`src/${file}.ts`))));
  const tables = new Map<string, Map<string, string>>();
  for (const name of declared.keys()) {
    if (name === 'TransportOptions' || name === 'ConnectionOptions') continue;
    const piece = name.replace(/Options$/, '').replace(/^./, (c) => c.toLowerCase());
    const [heading, within = ''] = PLACES[name] ?? [piece];
    const table = tables.get(heading) ?? new Map<string, string>();
    tables.set(heading, table);
    for (const [option, value] of optionsOf(name, declared)) table.set(within + option, value);
  }
  return [...tables].map(([heading, options]) => ({ heading, options }));
}

/** The options of a type and of those that it extends. */
function optionsOf(name: string, declared: Map<string, OptionType>): [string, string][] {
  const { options = [], bases = [] } = declared.get(name) ?? {};
  // What `reverseProxy()` takes of `proxyPass()` is listed there alone.
  const listed = bases.filter((base) => base !== 'ProxyPassOptions');
  return [...listed.flatMap((base) => optionsOf(base, declared)), ...options];
}

interface OptionType {
  readonly options: Map<string, string>;
  readonly bases: string[];
}

function optionTypes(source: string): [name: string, type: OptionType][] {
  const types = source.matchAll(
    /^export interface (\w+Options)(?: extends (.*?))? {\n([\s\S]*?)^}/gm,
  );
  return [...types].map(([, name = '', bases = '', body = '']) => {
    const members = body.matchAll(/(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*)?readonly (\w+)\??:/g);
    const options = [...members].map(([, comment = '', option = '']): [string, string] => {
      return [option, /@default (.*)/.exec(comment)?.[1]?.trim() ?? ''];
    });
    return [name, { options: new Map(options), bases: bases.split(', ') }];
  });
}

function filesIn(room: string): string[] {
  return readdirSync(join(root, 'src', room))
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `${room}/${file.replace(/\.ts$/, '')}`);
}

/** What `tsc` has to say about blocks. Each becomes a file with the code on its own line of the page. */
async function typeErrors(blocks: readonly CodeBlock[]): Promise<string> {
  await mkdir(join(root, '.cache'), { recursive: true });
  const folder = await mkdtemp(join(root, '.cache/docs-'));
  try {
    const files = blocks.map(({ file, line }) => `${file.replaceAll('/', '_')}.${line}.ts`);
    for (const [i, block] of blocks.entries()) {
      const before = isWhole(block) ? '' : PREAMBLE;
      const text = `${'\n'.repeat(block.line - 2)}${before}\n${block.code}`;
      await writeFile(join(folder, files[i] ?? ''), text);
    }
    const compilerOptions = { noUnusedLocals: false, noUnusedParameters: false };
    const config = { extends: '../../tsconfig.json', compilerOptions, include: [], files };
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config));
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const { stdout } = await execute(process.execPath, [tsc], { cwd: folder }).catch(
      (failed: { stdout: string }) => failed,
    );
    // What is wrong with the source itself is for `npm run typecheck` to say.
    return stdout.replace(/^\.\..*\n/gm, '');
  } finally {
    await rm(folder, { recursive: true });
  }
}

const execute = promisify(execFile);

/** The targets of links to other pages, files and headings of the project. */
function linksOf(page: string): string[] {
  const prose = read(page)
    .replace(/^```[\s\S]*?^```$/gm, '')
    .replace(/`[^`\n]*`/g, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target));
}

function resolves(page: string, link: string): boolean {
  const [path = '', anchor] = link.split('#');
  const file = path === '' ? page : normalize(join(dirname(page), path));
  if (!existsSync(join(root, file))) return false;
  return anchor === undefined || headings(file).includes(anchor);
}

/** The anchors that a page's headings get where it is shown. */
function headings(file: string): string[] {
  const prose = read(file).replace(/^```[\s\S]*?^```$/gm, '');
  return [...prose.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}
