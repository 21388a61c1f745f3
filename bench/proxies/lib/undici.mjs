import { createRequire } from 'node:module';

// From the main package, not from bench/node_modules: the floors and headrace must run on one undici.
const require = createRequire(new URL('../../../package.json', import.meta.url));

export const { Pool } = require('undici');
