// The server, the browser, and what the tests of the page share.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

/** The folder of the screenshots. */
export const SHOTS = fileURLToPath(new URL('../../target/browser/', import.meta.url));
mkdirSync(SHOTS, { recursive: true });

/** Starts the server of 10,000 calls. */
export async function serve() {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const metadata = spawnSync('cargo', ['metadata', '--format-version=1', '--no-deps', '--offline'], {
    cwd: root, encoding: 'utf8', maxBuffer: 1 << 26,
  });
  assert.equal(metadata.status, 0, metadata.stderr);
  const program = `${JSON.parse(metadata.stdout).target_directory}/debug/examples/timeline_server`;
  const server = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  const [address] = await Promise.race([
    new Promise((resolve) => createInterface(server.stdout).once('line', (line) => resolve([line]))),
    ended.then((code) => assert.fail(`the server ended with ${code}`)),
  ]);
  return {
    address,
    post: async (path) => {
      const response = await fetch(`${address}/${path}`, { method: 'POST' });
      assert.equal(response.status, 200, path);
    },
    text: async (path) => (await fetch(`${address}/${path}`)).text(),
    stop: async () => {
      server.stdin.end();
      assert.equal(await ended, 0, 'the server ends with its input');
    },
  };
}

export async function launch() {
  // Chromium's sandbox does not work for root.
  const args = process.getuid() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args });
}

/**
 * Opens a page, and records each request, error and message of its console.
 */
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1360, height: 780 }, ...options });
  const page = await context.newPage();
  const seen = { requests: [], errors: [] };
  page.on('request', (request) => seen.requests.push(request.url()));
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  page.on('dialog', (dialog) => {
    seen.errors.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') seen.errors.push(message.text());
  });
  await page.goto(url);
  return { page, seen, close: () => context.close() };
}

export const stats = (page) => page.evaluate(() => window.toolboothTimeline.stats());
export const view = (page) => page.evaluate(() => window.toolboothTimeline.view());
export const calls = (page) => page.evaluate(() => window.toolboothTimeline.calls());

/** Waits until the page has drawn what changed. */
export const drawn = (page) =>
  page.evaluate(() => new Promise((resolve) => {
    requestAnimationFrame(() => requestAnimationFrame(resolve));
  }));

/** Waits until the page has at least this many calls. */
export async function loaded(page, least) {
  await page.waitForFunction((n) => window.toolboothTimeline?.calls().all >= n, least);
  await drawn(page);
}

/** The width of the visible range in milliseconds. */
export async function range(page) {
  await drawn(page);
  const { start, end } = await view(page);
  return end - start;
}

/** The middle of an element. */
export async function middle(page, selector) {
  const box = await page.locator(selector).boundingBox();
  return { x: box.x + box.width / 2, y: box.y + box.height / 2, ...box, left: box.x, top: box.y };
}

/** The texts of the rows in the document, from top to bottom. */
export const rowTexts = (page, column) =>
  page.evaluate((at) => [...document.querySelectorAll('.row')]
    .sort((a, b) => a.getAttribute('aria-rowindex') - b.getAttribute('aria-rowindex'))
    .map((row) => row.children[at].textContent), column);
