import { resolve } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import ts from 'typescript';
import { expectations } from './helpers/types.js';

const root = resolve(__dirname, '..');
const path = resolve(__dirname, 'helpers/types.ts');

/** What the compiler has to say, by the function that it says it of. */
const complaints = new Map<string, string[]>();

beforeAll(() => {
  const { config } = ts.readConfigFile(resolve(root, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, root);
  expect(options).toMatchObject({ strict: true, exactOptionalPropertyTypes: true });
  const program = ts.createProgram([path], options);
  for (const { file, start = 0, messageText } of ts.getPreEmitDiagnostics(program)) {
    const around = file?.statements.find((one) => one.pos <= start && start < one.end);
    const name =
      around && ts.isFunctionDeclaration(around) ? String(around.name?.text) : 'elsewhere';
    const line = (file?.getLineAndCharacterOfPosition(start).line ?? 0) + 1;
    const words = `${file?.fileName}:${line} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    complaints.set(name, [...(complaints.get(name) ?? []), words]);
  }
}, 180_000);

describe('the types', () => {
  it.each(expectations)('%s', (_, { name }) => {
    expect(complaints.get(name) ?? []).toEqual([]);
  });

  it('compile everywhere else', () => {
    expect(complaints.get('elsewhere') ?? []).toEqual([]);
  });
});
