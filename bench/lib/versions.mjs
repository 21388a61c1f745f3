import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const MAIN = new URL('../../', import.meta.url);
const BENCH = new URL('../', import.meta.url);

/** Versions of everything that takes part: the proxies' Node, headrace and what it runs on, the peers. */
export function versions(node) {
  const peers = Object.keys(readJson(new URL('package.json', BENCH)).dependencies);
  return {
    node: execFileSync(node, ['--version'], { encoding: 'utf8' }).trim().slice(1),
    headrace: readJson(new URL('package.json', MAIN)).version,
    undici: installed(MAIN, 'undici'),
    express: installed(MAIN, 'express'),
    ...Object.fromEntries(peers.map((name) => [name, installed(BENCH, name)])),
  };
}

function installed(root, name) {
  return readJson(new URL(`node_modules/${name}/package.json`, root)).version;
}

function readJson(url) {
  return JSON.parse(readFileSync(url, 'utf8'));
}
