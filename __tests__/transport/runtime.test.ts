import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { build } from 'esbuild';
import { runtimeWarning } from '../../src/transport/runtime.js';

type Runtime = typeof import('../../src/transport/runtime.js');

describe('runtimeWarning', () => {
  it.each(['20.20.2', '20.21.0', '22.22.2', '24.14.1', '24.15.0', '26.0.0'])(
    'has nothing to say of Node %s',
    (version) => {
      expect(runtimeWarning(version, '')).toBeUndefined();
    },
  );

  it.each([
    ['20.18.1', '20.20.2'],
    ['20.20.1', '20.20.2'],
    ['22.9.9', '22.22.2'],
    ['24.14.0', '24.14.1'],
    ['18.20.8', '20.20.2'],
    ['21.7.3', '22.22.2'],
    ['23.11.1', '24.14.1'],
  ])('warns of Node %s', (version, floor) => {
    expect(runtimeWarning(version, '')).toBe(
      `Node ${version} has known flaws in its HTTP parser: use ${floor} or later`,
    );
  });

  it.each(['--no-warnings --insecure-http-parser', '--insecure_http_parser'])(
    'warns of %s, whatever the version',
    (flags) => {
      expect(runtimeWarning('26.0.0', flags)).toMatch(/--insecure-http-parser/);
    },
  );
});

describe('warnOfRuntime', () => {
  // Jest's copy of `process` hears nothing of the events of the real one.
  const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
  afterEach(() => void warn.mockClear());

  /** The module as it is when a process begins. */
  function fresh(): Runtime {
    let runtime: Runtime | undefined;
    jest.isolateModules(() => {
      runtime = jest.requireActual<Runtime>('../../src/transport/runtime.js');
    });
    return runtime as Runtime;
  }

  it('warns once a process', () => {
    const { warnOfRuntime } = fresh();
    warnOfRuntime('26.0.0', '');
    expect(warn).not.toHaveBeenCalled();
    warnOfRuntime('20.18.1', '');
    warnOfRuntime('20.18.1', '');
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn).toHaveBeenCalledWith(expect.stringContaining('Node 20.18.1'), {
      type: 'HeadraceWarning',
      code: 'HEADRACE_RUNTIME',
    });
  });

  it('looks at the running process, flags in NODE_OPTIONS included', () => {
    const { NODE_OPTIONS } = process.env;
    process.env.NODE_OPTIONS = '--insecure-http-parser';
    try {
      fresh().warnOfRuntime();
    } finally {
      if (NODE_OPTIONS === undefined) delete process.env.NODE_OPTIONS;
      else process.env.NODE_OPTIONS = NODE_OPTIONS;
    }
    expect(warn).toHaveBeenCalledTimes(1);
  });
});

describe('a process that makes a pipeline', () => {
  let script: string;
  beforeAll(async () => {
    script = join(await mkdtemp(join(tmpdir(), 'headrace-runtime-')), 'headrace.cjs');
    const entryPoints = [resolve(__dirname, '../../src/index.ts')];
    await build({
      entryPoints,
      outfile: script,
      bundle: true,
      platform: 'node',
      logLevel: 'error',
    });
  });
  afterAll(() => rm(dirname(script), { recursive: true, force: true }));

  /** What a process writes to stderr that makes three pipelines. */
  async function stderrOf(args: readonly string[], options = ''): Promise<string> {
    const make =
      "const { proxyPass, reverseProxy } = require(process.env.SCRIPT); proxyPass('http://a'); " +
      "proxyPass('http://b'); reverseProxy('http://c')";
    const env = { ...process.env, NODE_OPTIONS: options, SCRIPT: script };
    const { stderr } = await promisify(execFile)(process.execPath, [...args, '-e', make], { env });
    return stderr;
  }

  it.each([
    ['on its command line', ['--insecure-http-parser'], ''],
    ['in NODE_OPTIONS', [], '--insecure-http-parser'],
    ['in NODE_OPTIONS with underscores', [], '--insecure_http_parser'],
  ])('is warned once of the insecure parser %s', async (_, args, options) => {
    const stderr = await stderrOf(args, options);

    expect(stderr.match(/HeadraceWarning/g)).toHaveLength(1);
    expect(stderr).toContain('[HEADRACE_RUNTIME]');
  });

  it('is told nothing otherwise, on a version that is new enough', async () => {
    const isOld = runtimeWarning(process.versions.node, '') !== undefined;

    expect((await stderrOf([])).includes('HeadraceWarning')).toBe(isOld);
  });
});
