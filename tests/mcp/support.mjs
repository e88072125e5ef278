// The gateway, its files, and what the probe recorded.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const GATEWAY = process.env.TOOLBOOTH;
const here = import.meta.dirname ?? new URL('.', import.meta.url).pathname;

// Waits until `check` returns a value, for at most `limit` milliseconds.
export async function until(what, check, limit = 15_000) {
  for (const begun = Date.now(); ; await sleep(10)) {
    const value = await check();
    if (value) return value;
    if (Date.now() - begun > limit) throw new Error(`not within ${limit} ms: ${what}`);
  }
}

// Whether a process runs.
export function alive(pid) {
  try {
    return !['X', 'Z'].includes(stat(pid)[0]);
  } catch {
    return false;
  }
}

// The fields of a process's status, from its state on.
export const stat = (pid) =>
  readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ');

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// A folder with a file to read, the probe's log, and the environment for the booth's file.
export function place() {
  const folder = mkdtempSync(join(tmpdir(), 'toolbooth-mcp-'));
  writeFileSync(join(folder, 'hello.txt'), 'hello from a file\n');
  const log = join(folder, 'probe.log');
  writeFileSync(log, '');
  const env = {
    ...process.env,
    FILES: folder,
    PROBE_LOG: log,
    PROBE: join(here, 'probe.mjs'),
    SUITE: join(here, 'suite.mjs'),
  };
  const events = () =>
    readFileSync(log, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  const find = (event, id) => events().find((entry) => entry.event === event && entry.id === id);
  const started = (id) => until(`started ${id}`, () => find('started', id));
  // The probe was notified, or its process has ended.
  const ended = (id) =>
    until(`cancelled ${id}`, () => find('cancelled', id) ?? !alive(find('started', id).pid));
  return { folder, env, events, started, ended };
}

// The parameters that start the gateway over stdio.
export function pipes(at, booth = 'booth.toml') {
  return { command: GATEWAY, args: ['run', join(here, booth)], env: at.env, stderr: 'ignore' };
}

// Starts the gateway over HTTP and waits until it accepts connections.
export async function serve(at, booth = 'booth.toml', address = undefined) {
  const port = address ?? (await freePort());
  const file = join(at.folder, `http-${port}.toml`);
  const text = readFileSync(join(here, booth), 'utf8');
  writeFileSync(file, `${text}\n[listen]\nstdio = false\nhttp = "127.0.0.1:${port}"\n`);
  const child = spawn(GATEWAY, ['run', file], { env: at.env, stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (data) => {
    errors = (errors + data).slice(-10_000);
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const url = new URL(`http://127.0.0.1:${port}/mcp`);
  await until('the gateway listens', async () => {
    if (child.exitCode !== null)
      throw new Error(`the gateway ended with ${child.exitCode}\n${errors}`);
    return fetch(url, { method: 'GET' }).then(
      () => true,
      () => false,
    );
  });
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  return { url, port, child, stop, ended, errors: () => errors };
}
