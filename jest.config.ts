/** @jest-config-loader esbuild-register */
import type { Config } from 'jest';

// Neither `import` nor `export`: Node >= 22.18 loads this file itself, and says so when it is no CommonJS.
const { availableParallelism } = process.getBuiltinModule('node:os');

/** The matrix runs the suite once more with the next undici in place of the one we depend on. */
const undici: Record<string, string> =
  process.env.HEADRACE_UNDICI === '8' ? { '^undici$': 'undici8' } : {};

/** What counts for no coverage: it looks at text, or runs the code in processes of its own. */
const notCounted = [
  '__tests__/(architecture|bench|demo|docs|package|readme|types)[.]test',
  'status-page-browser',
];

const config: Config = {
  testEnvironment: 'node',
  testMatch: ['**/__tests__/**/*.test.ts'],
  testPathIgnorePatterns: [
    '/node_modules/',
    ...(process.argv.includes('--coverage') ? notCounted : []),
  ],
  // Installed copies of Node and of the package are no part of the project.
  modulePathIgnorePatterns: ['<rootDir>/.cache/', '<rootDir>/dist/', '<rootDir>/bench/'],
  // For what hangs. How quick something is, the tests say that are about it.
  testTimeout: 30_000,
  // Most tests wait for sockets: one process more finds time that the others leave. (Jest takes more than 100 % for a count.)
  maxWorkers: availableParallelism() + 1,
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        swcrc: false,
        jsc: {
          parser: { syntax: 'typescript' },
          target: 'es2022',
          transform: { useDefineForClassFields: true },
        },
        module: { type: 'commonjs' },
      },
    ],
    // An ES module and no other: Node requires it as it is, Jest cannot.
    '/node_modules/jose/.+\\.js$': ['@swc/jest', { swcrc: false, module: { type: 'commonjs' } }],
  },
  transformIgnorePatterns: ['/node_modules/(?!jose/)'],
  moduleNameMapper: {
    '^headrace$': '<rootDir>/src/index.ts',
    // Our imports say `.js`, as the build needs it. The file itself comes first, so packages that
    // require their own `.js` files get exactly those.
    '^(\\.{1,2}/.*)\\.js$': ['$1.js', '$1.ts'],
    ...undici,
  },
  testResultsProcessor: '<rootDir>/.ci/fail-on-open-handles.cjs',
  collectCoverageFrom: ['src/**/*.ts'],
  coverageDirectory: 'coverage',
  coverageReporters: ['text', 'html', 'lcov'],
  coverageThreshold: {
    global: { lines: 95, statements: 95, functions: 95, branches: 90 },
  },
};

module.exports = config;
