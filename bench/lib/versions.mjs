import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const MAIN = new URL('../../', import.meta.url);
const BENCH = new URL('../', import.meta.url);

/** How the programs beside Node say their versions. */
const tools = { wrk: ['-v'], nginx: ['-v'], go: ['version'], haproxy: ['-v'] };

/** Versions of everything that takes part: the proxies' Node, headrace and what it runs on, the peers, the tools. */
export function versions(node) {
  const peers = Object.keys(readJson(new URL('package.json', BENCH)).dependencies);
  return {
    node: execFileSync(node, ['--version'], { encoding: 'utf8' }).trim().slice(1),
    headrace: readJson(new URL('package.json', MAIN)).version,
    undici: installed(MAIN, 'undici'),
    express: installed(MAIN, 'express'),
    ...Object.fromEntries(peers.map((name) => [name, installed(BENCH, name)])),
    ...Object.fromEntries(Object.keys(tools).map((name) => [name, toolVersion(name)])),
  };
}

/** What a program of the system says of itself, or `undefined` where it is not installed. */
export function toolVersion(name) {
  const { error, stdout, stderr } = spawnSync(name, tools[name], { encoding: 'utf8' });
  return error === undefined ? /\d+\.\d+(\.\d+)?/.exec(stdout + stderr)?.[0] : undefined;
}

function installed(root, name) {
  return readJson(new URL(`node_modules/${name}/package.json`, root)).version;
}

function readJson(url) {
  return JSON.parse(readFileSync(url, 'utf8'));
}
