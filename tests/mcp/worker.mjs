// A client of faults.mjs: one call after the other, and a line of JSON for each event.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { pipes } from './support.mjs';

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const request = (id, method, params) => ({ jsonrpc: '2.0', id, method, params });
const initialize = () =>
  request(0, 'initialize', {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'faults', version: '1' },
  });
const INITIALIZED = { jsonrpc: '2.0', method: 'notifications/initialized' };
const outcome = (message) => {
  if (message.error) return 'error';
  return message.result.isError ? 'tool error' : 'result';
};

// The calls take turns: short, long with progress, and one that the limit ends.
function params(id) {
  const progress = { _meta: { progressToken: id } };
  switch (id % 8) {
    case 7:
      return { name: 'hang', arguments: { id: `${process.pid} ${id}` } };
    case 3:
      return {
        name: 'steps',
        arguments: { steps: 5, every: 40, id: `${process.pid} ${id}` },
        ...progress,
      };
    default:
      return { name: 'echo', arguments: { text: 'x'.repeat(1_000) } };
  }
}

// Connects over HTTP, and returns how a call ends.
async function http(url) {
  let session;
  const post = async (message) => {
    const response = await fetch(url, {
      method: 'POST',
      body: JSON.stringify(message),
      headers: {
        accept: 'application/json, text/event-stream',
        'content-type': 'application/json',
        ...(session ? { 'mcp-session-id': session } : {}),
      },
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${response.status}`);
    const found = text
      .split('\n')
      .map((line) => line.replace(/^data: ?/, ''))
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
      .find(({ id }) => id !== undefined && id === message.id);
    return { found, response };
  };
  const first = await post(initialize());
  session = first.response.headers.get('mcp-session-id');
  await post(INITIALIZED);
  return async (message) => {
    const { found } = await post(message);
    if (!found) throw new Error('the stream ended');
    return outcome(found);
  };
}

// Starts a gateway of its own, and returns how a call ends.
async function stdio() {
  const { command, args, env } = pipes({ env: process.env }, 'faults.toml');
  const child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'ignore'] });
  tell({ gateway: child.pid });
  const waiting = new Map();
  child.stdin.on('error', () => {});
  child.once('exit', () => waiting.forEach(({ reject }) => reject(new Error('the gateway ended'))));
  createInterface({ input: child.stdout }).on('line', (line) => {
    const message = JSON.parse(line);
    if (message.method === undefined) waiting.get(message.id)?.resolve(message);
  });
  const send = (message) => child.stdin.write(`${JSON.stringify(message)}\n`);
  const answered = async (message) => {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('the gateway ended');
    try {
      return await new Promise((resolve, reject) => {
        waiting.set(message.id, { resolve, reject });
        send(message);
      });
    } finally {
      waiting.delete(message.id);
    }
  };
  await answered(initialize());
  send(INITIALIZED);
  return async (message) => outcome(await answered(message));
}

export async function work(target) {
  for (let id = 1; ;) {
    let call;
    try {
      call = target === 'stdio' ? await stdio() : await http(target);
    } catch {
      // The gateway was killed, and its successor does not listen yet.
      tell({ end: 0, how: 'no connection' });
      await sleep(200);
      continue;
    }
    for (let connected = true; connected; id += 1) {
      tell({ begin: id });
      const how = await call(request(id, 'tools/call', params(id))).catch(() => 'connection end');
      tell({ end: id, how });
      connected = how !== 'connection end';
      // While the upstream is away, calls are rejected at once.
      if (how.endsWith('error')) await sleep(20);
    }
  }
}
