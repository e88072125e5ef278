// The upstream for the conformance suites: the tools that they expect of a server.

import { setTimeout as sleep } from 'node:timers/promises';
import { progress, result, send, serve } from './server.mjs';

const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==';
const SILENCE = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=';
const image = { type: 'image', data: PIXEL, mimeType: 'image/png' };
const resource = (uri, mimeType, text) => ({ type: 'resource', resource: { uri, mimeType, text } });

const CONTENTS = {
  test_simple_text: [{ type: 'text', text: 'This is a simple text response for testing.' }],
  test_image_content: [image],
  test_audio_content: [{ type: 'audio', data: SILENCE, mimeType: 'audio/wav' }],
  test_embedded_resource: [
    resource('test://embedded-resource', 'text/plain', 'This is an embedded resource content.'),
  ],
  test_multiple_content_types: [
    { type: 'text', text: 'Multiple content types test:' },
    image,
    resource('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
  ],
  json_schema_2020_12_tool: [{ type: 'text', text: 'ok' }],
  test_custom_headers: [{ type: 'text', text: 'ok' }],
  test_logging_tool: [{ type: 'text', text: 'ok' }],
  test_streaming_elicitation: [{ type: 'text', text: 'ok' }],
};

const empty = { type: 'object', properties: {} };
const schema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: {
    address: {
      $anchor: 'addressDef',
      type: 'object',
      properties: { street: { type: 'string' }, city: { type: 'string' } },
    },
  },
  properties: {
    name: { type: 'string' },
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
    phone: { type: 'string' },
    email: { type: 'string' },
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
};
// Parameters that a client repeats in headers.
const headers = {
  type: 'object',
  properties: {
    region: { type: 'string', 'x-mcp-header': 'Region' },
    priority: { type: 'integer', 'x-mcp-header': 'Priority' },
    query: { type: 'string' },
  },
  required: ['region', 'query'],
};
const SCHEMAS = { json_schema_2020_12_tool: schema, test_custom_headers: headers };
const tools = [...Object.keys(CONTENTS), 'test_tool_with_progress', 'test_error_handling'].map(
  (name) => ({
    name,
    description: `The tool ${name}.`,
    inputSchema: SCHEMAS[name] ?? empty,
  }),
);

async function call(request) {
  const { name } = request.params;
  if (name === 'test_tool_with_progress') {
    for (const step of [0, 50, 100]) {
      progress(request, step, 100);
      // Longer than the time between two notifications of the gateway.
      await sleep(150);
    }
    return send({ id: request.id, result: result('done') });
  }
  if (name === 'test_error_handling') {
    const text = 'This tool intentionally returns an error for testing';
    return send({ id: request.id, result: result(text, { isError: true }) });
  }
  return send({ id: request.id, result: { content: CONTENTS[name] } });
}

serve({ name: 'suite', tools, page: 100, call });
