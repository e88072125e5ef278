// The conformance suites against the gateway over HTTP. Each file `expected-*.yml` lists the
// scenarios that fail, and why: a suite fails if another one does, or if one of these passes.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { place, serve } from './support.mjs';

const run = promisify(execFile);
const file = (name) => fileURLToPath(new URL(name, import.meta.url));
const SUITES = [
  ['conformance 0.1.16', '@modelcontextprotocol/conformance', 'expected-2025.yml', []],
  [
    'conformance 0.2, 2026-07-28',
    'conformance-next',
    'expected-2026.yml',
    ['--requirements', '2026-07-28'],
  ],
];
let gateway;

before(async () => {
  gateway = await serve(place(), 'suite.toml');
});
after(async () => {
  await gateway?.stop();
});

for (const [name, program, expected, options] of SUITES) {
  test(`${name}: all scenarios but the expected ones pass`, async () => {
    const script = file(`node_modules/${program}/dist/index.js`);
    const args = [
      script,
      'server',
      '--url',
      gateway.url.href,
      '--expected-failures',
      file(expected),
      ...options,
    ];
    const ended = await run(process.execPath, args, {
      maxBuffer: 1 << 26,
      cwd: process.env.WORK,
    }).catch((error) => error);
    const output = `${ended.stdout}\n${ended.stderr}`;
    const summary = output.slice(output.lastIndexOf('=== SUMMARY'));
    assert.equal(ended.code ?? 0, 0, output.slice(-6_000));
    console.log(`${name}\n${summary.trim()}`);
  });
}
