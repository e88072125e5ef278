// A server over stdio with the tools that it is given. It needs no package, so that it records
// what it receives and nothing that a package makes of it.

import { createInterface } from 'node:readline';

export const send = (message) =>
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);

export const result = (text, more = {}) => ({ content: [{ type: 'text', text }], ...more });

export function progress(request, progress, total, message) {
  const progressToken = request.params._meta?.progressToken;
  if (progressToken === undefined) return;
  send({ method: 'notifications/progress', params: { progressToken, progress, total, message } });
}

// Lists the tools in pages, and hands each call to `call` and each cancelled id to `cancel`.
export function serve({ name, tools, page, call, cancel = () => {} }) {
  const receive = (message) => {
    switch (message.method) {
      case 'initialize': {
        const { protocolVersion } = message.params;
        const serverInfo = { name, version: '1' };
        return send({
          id: message.id,
          result: { protocolVersion, serverInfo, capabilities: { tools: {} } },
        });
      }
      case 'tools/list': {
        const from = Number(message.params?.cursor ?? 0);
        const more = from + page < tools.length ? { nextCursor: String(from + page) } : {};
        return send({ id: message.id, result: { tools: tools.slice(from, from + page), ...more } });
      }
      case 'tools/call':
        return call(message);
      case 'ping':
        return send({ id: message.id, result: {} });
      case 'notifications/cancelled':
        return cancel(message.params.requestId);
      default:
        if (message.id === undefined || message.method === undefined) return undefined;
        return send({
          id: message.id,
          error: { code: -32601, message: `no method ${message.method}` },
        });
    }
  };
  createInterface({ input: process.stdin })
    .on('line', (line) => receive(JSON.parse(line)))
    .on('close', () => process.exit(0));
}
