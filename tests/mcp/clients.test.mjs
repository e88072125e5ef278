// The official clients for TypeScript, of both generations of the protocol, over stdio and HTTP.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as next from '@modelcontextprotocol/client';
import { StdioClientTransport as NextStdio } from '@modelcontextprotocol/client/stdio';
import { Client as FirstClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as FirstStdio } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as FirstHttp } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { pipes, place, serve, until } from './support.mjs';

const INFO = { name: 'test', version: '1' };
const pinned = { versionNegotiation: { mode: { pin: '2026-07-28' } } };
const SDKS = [
  {
    name: 'sdk 1',
    client: () => new FirstClient(INFO),
    stdio: (parameters) => new FirstStdio(parameters),
    http: (url) => new FirstHttp(url),
    call: (client, params, options) => client.callTool(params, undefined, options),
  },
  ...[
    ['client 2 with 2025-11-25', {}],
    ['client 2 with 2026-07-28', pinned],
  ].map(([name, options]) => ({
    name,
    client: () => new next.Client(INFO, options),
    stdio: (parameters) => new NextStdio(parameters),
    http: (url) => new next.StreamableHTTPClientTransport(url),
    call: (client, params, options) => client.callTool(params, options),
  })),
];

const texts = (result) => result.content.map((content) => content.text);

async function names(client) {
  const tools = [];
  let cursor;
  do {
    const page = await client.listTools({ cursor });
    tools.push(...page.tools.map((tool) => tool.name));
    cursor = page.nextCursor;
  } while (cursor);
  return tools;
}

for (const sdk of SDKS) {
  for (const front of ['stdio', 'http']) {
    describe(`${sdk.name} over ${front}`, () => {
      const at = place();
      let gateway;
      let client;
      const open = async () => {
        const opened = sdk.client();
        await opened.connect(gateway ? sdk.http(gateway.url) : sdk.stdio(pipes(at)));
        return opened;
      };
      const call = (name, given = {}, options = {}, by = client) =>
        sdk.call(by, { name, arguments: given }, options);

      before(async () => {
        if (front === 'http') gateway = await serve(at);
        client = await open();
        await until(
          'all servers are up',
          async () => {
            const tools = await names(client);
            return [
              'everything_echo',
              'files_read_file',
              'time_convert_time',
              'git_git_log',
              'probe_stop',
            ].every((name) => tools.includes(name));
          },
          30_000,
        );
      });

      after(async () => {
        await client?.close();
        await gateway?.stop();
      });

      test('lists each tool of each server once, with its prefix', async () => {
        const tools = await names(client);
        assert.deepEqual([...new Set(tools)].length, tools.length);
        const probe = tools.filter((name) => name.startsWith('probe_')).sort();
        assert.deepEqual(
          probe,
          ['echo', 'fail', 'hang', 'limited', 'steps', 'stop', 'sum'].map(
            (name) => `probe_${name}`,
          ),
        );
      });

      test('calls tools of the real servers', async () => {
        assert.deepEqual(texts(await call('everything_echo', { message: 'hi' })), ['Echo: hi']);
        const path = `${at.folder}/hello.txt`;
        assert.match(texts(await call('files_read_text_file', { path }))[0], /hello from a file/);
        const time = JSON.parse(
          texts(await call('time_get_current_time', { timezone: 'Etc/UTC' }))[0],
        );
        assert.equal(time.timezone, 'Etc/UTC');
        const log = await call('git_git_log', { repo_path: process.env.REPOSITORY, max_count: 1 });
        assert.match(texts(log).join('\n'), /the first commit/);
      });

      test('contents of every kind arrive unchanged', async () => {
        const image = await call('everything_get-tiny-image');
        const [, content] = image.content;
        assert.equal(content.type, 'image');
        assert.equal(content.mimeType, 'image/png');
        assert.deepEqual(
          [...Buffer.from(content.data, 'base64').subarray(1, 4)],
          [...Buffer.from('PNG')],
        );
        const links = await call('everything_get-resource-links', { count: 2 });
        assert.equal(links.content.filter(({ type }) => type === 'resource_link').length, 2);
      });

      test('a structured result arrives with its text', async () => {
        const sum = await call('probe_sum', { a: 2, b: 3 });
        assert.deepEqual(sum.structuredContent, { sum: 5 });
        assert.deepEqual(texts(sum), ['{"sum":5}']);
        const weather = await call('everything_get-structured-content', { location: 'Chicago' });
        assert.deepEqual(Object.keys(weather.structuredContent).sort(), [
          'conditions',
          'humidity',
          'temperature',
        ]);
      });

      test('progress arrives in order, before the result', async () => {
        const seen = [];
        const onprogress = ({ progress, total, message }) =>
          seen.push({ progress, total, message });
        const result = await call(
          'probe_steps',
          { steps: 5, every: 300, id: 'progress' },
          { onprogress },
        );
        assert.deepEqual(texts(result), ['5 steps']);
        const expected = [1, 2, 3, 4, 5].map((step) => ({
          progress: step,
          total: 5,
          message: `step ${step}`,
        }));
        assert.deepEqual(seen, expected);
      });

      test('the upstream is notified of a cancelled call', async () => {
        const abort = new AbortController();
        const id = `cancel ${front}`;
        const hanging = call('probe_hang', { id }, { signal: abort.signal });
        await at.started(id);
        abort.abort(new Error('enough'));
        await assert.rejects(hanging);
        await at.ended(id);
        assert.deepEqual(texts(await call('probe_echo', { text: 'on' })), ['on']);
      });

      test('an error of the tool is a result with isError', async () => {
        const failed = await call('probe_fail', { text: 'no such row' });
        assert.deepEqual([failed.isError, texts(failed)], [true, ['no such row']]);
      });

      test('a tool that is unknown is an error of the protocol', async () => {
        await assert.rejects(call('probe_nothing'), ({ code }) => code === -32602);
      });

      test('a call that exceeds its limit returns what it had sent, then why it ended', async () => {
        const limited = await call(
          'probe_limited',
          { steps: 100, every: 150, id: 'limited' },
          { onprogress: () => {} },
        );
        assert.equal(limited.isError, true);
        assert.match(texts(limited).at(-1), /timeout|timed out|time limit|500 ?ms/i);
        await at.ended('limited');
      });

      test('twenty calls at once of each of two clients get their own results', async () => {
        const other = front === 'http' ? await open() : client;
        const calls = [client, other].flatMap((by, owner) =>
          Array.from({ length: 20 }, async (_, index) => {
            const text = `${owner} ${index}`;
            assert.deepEqual(texts(await call('probe_echo', { text }, {}, by)), [text]);
          }),
        );
        await Promise.all(calls);
        if (other !== client) await other.close();
      });

      test('a server that ends in a call fails this call only, and is started again', async () => {
        const stopped = await call('probe_stop');
        assert.equal(stopped.isError, true);
        assert.deepEqual(texts(await call('everything_echo', { message: 'on' })), ['Echo: on']);
        await until('the probe is up again', async () => {
          const again = await call('probe_echo', { text: 'again' }).catch(() => undefined);
          return again && !again.isError && texts(again)[0] === 'again';
        });
      });
    });
  }
}
