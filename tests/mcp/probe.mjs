// An MCP server over stdio for the tests: `probe.mjs LOG`. Appends a line of JSON to LOG for each
// call that starts, is cancelled or ends. Lists its tools in pages of two.

import { appendFileSync } from 'node:fs';
import { progress, result, send, serve } from './server.mjs';

const [log] = process.argv.slice(2);
const record = (event, id) => {
  const line = { event, id, pid: process.pid, at: Date.now() };
  if (log) appendFileSync(log, `${JSON.stringify(line)}\n`);
};

const text = { type: 'string' };
const number = { type: 'number' };
const object = (properties) => ({ type: 'object', properties });
const tools = [
  { name: 'echo', inputSchema: object({ text }) },
  { name: 'hang', inputSchema: object({ id: text }) },
  { name: 'steps', inputSchema: object({ steps: number, every: number, id: text }) },
  { name: 'limited', inputSchema: object({ steps: number, every: number, id: text }) },
  { name: 'fail', inputSchema: object({ text }) },
  {
    name: 'sum',
    inputSchema: object({ a: number, b: number }),
    outputSchema: object({ sum: number }),
  },
  { name: 'stop', inputSchema: object({}) },
].map((tool) => ({ description: `The tool ${tool.name}.`, ...tool }));

const running = new Map();

// Runs a call that reports progress, until it is cancelled.
function steps(request, { steps = 0, every = 0, id }) {
  let step = 0;
  record('started', id);
  const timer = setInterval(() => {
    step += 1;
    // The result has a turn of its own: clients may drop progress that arrives together with it.
    if (step <= steps) return progress(request, step, steps, `step ${step}`);
    end();
    record('ended', id);
    return send({ id: request.id, result: result(`${steps} steps`) });
  }, every);
  const end = () => {
    clearInterval(timer);
    running.delete(request.id);
  };
  running.set(request.id, () => {
    end();
    record('cancelled', id);
  });
}

function call(request) {
  const { name, arguments: given = {} } = request.params;
  const reply = (value) => send({ id: request.id, result: value });
  switch (name) {
    case 'echo':
      return reply(result(given.text));
    case 'hang':
      return steps(request, { steps: 0, every: 600_000, id: given.id });
    case 'steps':
    case 'limited':
      return steps(request, given);
    case 'fail':
      return reply(result(given.text, { isError: true }));
    case 'sum': {
      const sum = given.a + given.b;
      return reply(result(JSON.stringify({ sum }), { structuredContent: { sum } }));
    }
    case 'stop':
      return process.exit(3);
    default:
      return send({ id: request.id, error: { code: -32602, message: `no tool ${name}` } });
  }
}

record('process');
serve({ name: 'probe', tools, page: 2, call, cancel: (id) => running.get(id)?.() });
