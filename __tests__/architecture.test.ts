import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import ts from 'typescript';

const src = resolve(__dirname, '../src');

/** A file of `src`, parsed. */
interface SourceFile {
  /** Its path inside `src`. */
  readonly path: string;
  readonly tree: ts.SourceFile;
}

const files: SourceFile[] = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .sort()
  .map((path) => {
    const text = readFileSync(join(src, path), 'utf8');
    const tree = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
    return { path: path.split('\\').join('/'), tree };
  });

/** The room that a file is in: the folder, or the file itself where it is in none. */
function roomOf(path: string): string {
  return path.includes('/') ? (path.split('/')[0] as string) : path;
}

/** The files of `src` that a file imports values from. Types may be imported from anywhere. */
function valueImports({ path, tree }: SourceFile): string[] {
  return tree.statements
    .filter((one) => ts.isImportDeclaration(one) || ts.isExportDeclaration(one))
    .filter((one) => !isTypeOnly(one))
    .map(({ moduleSpecifier }) =>
      moduleSpecifier && ts.isStringLiteral(moduleSpecifier) ? moduleSpecifier.text : '',
    )
    .filter((name) => name.startsWith('.'))
    .map((name) => posix.join(dirname(path), name).replace(/\.js$/, '.ts'));
}

function isTypeOnly(one: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(one)) {
    return one.isTypeOnly || (named(one.exportClause)?.every(isType) ?? false);
  }
  const { importClause } = one;
  if (importClause === undefined) return false;
  if (importClause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  return (
    importClause.name === undefined && (named(importClause.namedBindings)?.every(isType) ?? false)
  );
}

function named(
  bindings: ts.NamedImportBindings | ts.NamedExportBindings | undefined,
): readonly (ts.ImportSpecifier | ts.ExportSpecifier)[] | undefined {
  if (bindings === undefined) return undefined;
  return ts.isNamedImports(bindings) || ts.isNamedExports(bindings) ? bindings.elements : undefined;
}

function isType({ isTypeOnly }: ts.ImportSpecifier | ts.ExportSpecifier): boolean {
  return isTypeOnly;
}

/** Every node of a tree. */
function* nodesOf(node: ts.Node): Generator<ts.Node> {
  yield node;
  for (const child of node.getChildren()) yield* nodesOf(child);
}

/** What each room may import values from, beside itself and the checks that all rooms share. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'index.ts': [
    'pieces',
    'caching',
    'status',
    'server',
    'transport',
    'upstreams',
    'identity',
    'exchange',
  ],
  pieces: ['caching', 'status', 'server', 'transport', 'upstreams', 'identity', 'exchange'],
  caching: ['transport', 'exchange'],
  identity: ['exchange'],
  server: ['exchange'],
  transport: ['exchange'],
  upstreams: ['exchange'],
  status: ['upstreams', 'exchange'],
  exchange: [],
  'options.ts': [],
  'backtracking.ts': [],
  'connection-settings.ts': ['tls-settings.ts'],
  'ignore.ts': [],
  'lists.ts': [],
  'deadline.ts': [],
  'promises.ts': [],
  'tls-settings.ts': [],
  'warnings.ts': [],
};
const SHARED = [
  'deadline.ts',
  'options.ts',
  'backtracking.ts',
  'connection-settings.ts',
  'ignore.ts',
  'lists.ts',
  'promises.ts',
  'warnings.ts',
];

describe('arrows point one way', () => {
  it('in a source that was found', () => {
    expect(files.map(({ path }) => path)).toContain('pieces/proxy-pass.ts');
    const pass = files.find(({ path }) => path === 'pieces/proxy-pass.ts');
    expect(pass && valueImports(pass)).toContain('exchange/errors.ts');
  });

  it('between the rooms of the house, of which each is known', () => {
    expect([...new Set(files.map(({ path }) => roomOf(path)))].sort()).toEqual(
      Object.keys(MAY_IMPORT).sort(),
    );
  });

  it.each(Object.entries(MAY_IMPORT))('from %s to %j', (room, allowed) => {
    const wrong = files
      .filter(({ path }) => roomOf(path) === room)
      .flatMap((file) => valueImports(file).map((target) => [file.path, target] as const))
      .filter(([, target]) => ![room, ...allowed, ...SHARED].includes(roomOf(target)))
      .map(([from, to]) => `${from} imports ${to}`);
    expect(wrong).toEqual([]);
  });

  it('no piece imports another piece, except the composition', () => {
    const wrong = files
      .filter(({ path }) => roomOf(path) === 'pieces' && path !== 'pieces/reverse-proxy.ts')
      .filter((file) => valueImports(file).some((target) => roomOf(target) === 'pieces'))
      .map(({ path }) => path);
    expect(wrong).toEqual([]);
  });

  it('nobody imports the door', () => {
    const wrong = files.filter((file) => valueImports(file).includes('index.ts'));
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it('the door holds names and no logic', () => {
    const door = files.find(({ path }) => path === 'index.ts');
    expect(door?.tree.statements.filter((one) => !ts.isExportDeclaration(one))).toEqual([]);
  });

  it('every import finds its file', () => {
    const known = new Set(files.map(({ path }) => path));
    const lost = files.flatMap((file) => valueImports(file).filter((target) => !known.has(target)));
    expect(lost).toEqual([]);
  });
});

describe('every file', () => {
  it('is named in kebab-case, pieces after their factory', () => {
    for (const { path, tree } of files) {
      expect(path).toMatch(/^(?:[a-z]+\/)*[a-z0-9]+(?:-[a-z0-9]+)*\.ts$/);
      if (roomOf(path) !== 'pieces') continue;
      const camel = posix.basename(path, '.ts').replace(/-([a-z])/g, (_, c) => c.toUpperCase());
      const functions = tree.statements.filter(ts.isFunctionDeclaration).filter(isExported);
      expect(functions.map(({ name }) => name?.text)).toContain(camel);
    }
  });

  it('has no more than 230 lines of code, comments not counted', () => {
    const long = files
      .map(({ path, tree }) => [path, linesOfCode(tree)] as const)
      .filter(([, lines]) => lines > 230);
    expect(long).toEqual([]);
  });

  it('prints nothing', () => {
    const prints = files.filter(({ tree }) =>
      [...nodesOf(tree)].some((node) => ts.isIdentifier(node) && node.text === 'console'),
    );
    expect(prints.map(({ path }) => path)).toEqual([]);
  });

  it('says of everything that it exports what it is', () => {
    const silent = files.flatMap(({ path, tree }) =>
      tree.statements
        .filter(isExported)
        .filter((one, i, all) => !isDescribed(one) && !isOverloadOf(all[i - 1], one))
        .map((one) => `${path}: ${one.getText().split('\n')[0]}`),
    );
    expect(silent).toEqual([]);
  });

  it('says of every option that it takes what it is', () => {
    const silent = files.flatMap(({ path, tree }) =>
      tree.statements
        .filter(ts.isInterfaceDeclaration)
        .filter(({ name }) => name.text.endsWith('Options'))
        .flatMap(({ members }) => members.filter((one) => !isDescribed(one)))
        .map((one) => `${path}: ${one.getText()}`),
    );
    expect(silent).toEqual([]);
  });
});

/** Lines that hold something of the program itself. */
function linesOfCode(tree: ts.SourceFile): number {
  const lines = new Set<number>();
  const lineOf = (position: number) => tree.getLineAndCharacterOfPosition(position).line;
  const visit = (node: ts.Node): void => {
    if (ts.isJSDoc(node) || node.kind === ts.SyntaxKind.EndOfFileToken) return;
    const children = node.getChildren();
    if (children.length > 0) return children.forEach(visit);
    for (let line = lineOf(node.getStart()); line <= lineOf(node.end); line++) lines.add(line);
  };
  visit(tree);
  return lines.size;
}

function isExported(node: ts.Statement): boolean {
  const modifiers = ts.canHaveModifiers(node) ? ts.getModifiers(node) : undefined;
  return modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) ?? false;
}

function isDescribed(node: ts.Node): boolean {
  return ts.getJSDocCommentsAndTags(node).length > 0;
}

/** Overloads and the type beside a constant are described once, at the first of them. */
function isOverloadOf(before: ts.Statement | undefined, node: ts.Statement): boolean {
  return (
    before !== undefined &&
    ts.isFunctionDeclaration(before) &&
    ts.isFunctionDeclaration(node) &&
    before.name?.text === node.name?.text
  );
}
