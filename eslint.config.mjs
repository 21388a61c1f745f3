// Biome lints everything else. Its own rules about promises do not know those that Node's modules
// return (`once`, `timers/promises`, `stream/promises`), and these are the ones that tests forget.
import typescript from '@typescript-eslint/eslint-plugin';
import * as parser from '@typescript-eslint/parser';

export default [
  {
    files: ['src/**/*.ts', '__tests__/**/*.ts', 'demo/**/*.ts'],
    languageOptions: {
      parser,
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    plugins: { '@typescript-eslint': typescript },
    rules: { '@typescript-eslint/no-floating-promises': 'error' },
  },
  {
    files: ['src/**/*.ts'],
    rules: { '@typescript-eslint/no-misused-promises': 'error' },
  },
];
