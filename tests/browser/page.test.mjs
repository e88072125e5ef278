// The page in headless Chromium, with 10,000 calls of a real stack.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, beforeEach, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import {
  SHOTS, calls, drawn, launch, loaded, middle, open, range, rowTexts, serve, stats, view,
} from './support.mjs';

const ALL = 10_002;
let server;
let browser;
let page;
let seen;
let close;
const measured = {};

before(async () => {
  server = await serve();
  browser = await launch();
  const begun = performance.now();
  ({ page, seen, close } = await open(browser, `${server.address}/timeline`));
  await loaded(page, ALL);
  measured['10,000 calls are drawn after, ms'] = Math.round(performance.now() - begun);
});

after(async () => {
  await close?.();
  await browser?.close();
  await server?.stop();
  writeFileSync(`${SHOTS}measured.json`, `${JSON.stringify(measured, null, 2)}\n`);
  for (const [what, value] of Object.entries(measured)) console.log(`${what}: ${value}`);
});

beforeEach(async () => {
  await page.keyboard.press('Escape');
  await page.locator('#reset').click();
  await drawn(page);
});

test('a percentile is the nearest rank', () => {
  const model = new URL('../../crates/toolbooth-timeline/assets/app/model.js', import.meta.url);
  const percentile = new Function(`${readFileSync(model, 'utf8')}; return percentile;`)();
  const upTo = (n) => Array.from({ length: n }, (_, i) => i + 1);
  assert.deepEqual([0, 0.5, 1].map((share) => percentile([7], share)), [7, 7, 7]);
  assert.deepEqual([0.5, 0.95].map((share) => percentile(upTo(2), share)), [1, 2]);
  assert.deepEqual([0.5, 0.95].map((share) => percentile(upTo(20), share)), [10, 19]);
});

test('a served page says that it loads until its first data', async () => {
  const context = await browser.newContext();
  const loading = await context.newPage();
  await loading.route('**/events', () => {});
  await loading.goto(`${server.address}/timeline`);
  assert.equal(await loading.locator('#empty').textContent(), 'Loading the calls.');
  await context.close();
});

test('all calls are drawn, and bars thinner than a pixel are merged', async () => {
  assert.deepEqual(await calls(page).then(({ all, shown }) => [all, shown]), [ALL, ALL]);
  const { bars, merged, titles } = await stats(page);
  const box = await middle(page, '#lanes');
  assert.ok(titles >= 1 && titles <= 8, `${titles} titles`);
  assert.ok(merged > 0, 'some bars are merged');
  assert.ok(bars + merged > 100, `${bars} bars, ${merged} merged`);
  // Each pixel of each lane in view has at most one bar.
  assert.ok(bars + merged < box.width * (box.height / 5), `${bars} bars, ${merged} merged`);
  measured['bars in a frame of all calls'] = bars;
  measured['merged bars in a frame of all calls'] = merged;
});

test('only the calls in view are drawn', async () => {
  const whole = await stats(page);
  for (let i = 0; i < 8; i += 1) await page.locator('#zoom-in').click();
  await drawn(page);
  const near = await stats(page);
  assert.ok(near.bars > 0, 'some calls are in view');
  assert.ok(near.bars + near.merged < (whole.bars + whole.merged) / 3, JSON.stringify({ whole, near }));
});

test('a drag pans, and each frame draws its bars', async () => {
  await page.locator('#zoom-in').click();
  await drawn(page);
  const before = await view(page);
  const { x, y } = await middle(page, '#lanes');
  await page.evaluate(() => {
    window.frames_ = [];
    let last = performance.now();
    let frame = window.toolboothTimeline.stats().frames;
    const look = (time) => {
      const now = window.toolboothTimeline.stats();
      if (now.frames > frame) window.frames_.push({ took: time - last, ...now });
      [last, frame] = [time, now.frames];
      window.looking = requestAnimationFrame(look);
    };
    look(last);
  });
  await page.mouse.move(x, y);
  await page.mouse.down();
  for (let i = 1; i <= 60; i += 1) await page.mouse.move(x - i * 4, y);
  await page.mouse.up();
  await drawn(page);
  const frames = await page.evaluate(() => {
    cancelAnimationFrame(window.looking);
    return window.frames_;
  });
  const after = await view(page);
  assert.ok(after.start > before.start, 'the view moved to the right');
  assert.ok(Math.abs((after.end - after.start) - (before.end - before.start)) < 1e-6);
  assert.ok(frames.length >= 10, `${frames.length} frames`);
  assert.ok(frames.every(({ bars, merged }) => bars + merged > 0), 'no frame is empty');
  const mean = (key) => frames.reduce((sum, frame) => sum + frame[key], 0) / frames.length;
  measured['frames a second while panning'] = Math.round(1000 / mean('took'));
  measured['drawing a frame, mean ms'] = Number(mean('milliseconds').toFixed(1));
  measured['bars in a frame while panning'] = Math.round(mean('bars') + mean('merged'));
});

test('the mouse zooms', async () => {
  const whole = await range(page);
  const lanes = await middle(page, '#lanes');
  await page.mouse.move(lanes.x, lanes.y);
  await page.keyboard.down('Control');
  await page.mouse.wheel(0, -300);
  await page.keyboard.up('Control');
  const wheel = await range(page);
  assert.ok(wheel < whole * 0.6, 'Ctrl and the wheel');

  const strip = await middle(page, '#strip');
  await page.mouse.move(strip.x, strip.y);
  await page.mouse.wheel(0, -300);
  const stripped = await range(page);
  assert.ok(stripped < wheel * 0.6, 'the wheel over the strip');

  await page.mouse.down();
  await page.mouse.move(strip.x + 50, strip.y, { steps: 4 });
  await page.mouse.move(strip.x + 100, strip.y, { steps: 4 });
  await page.mouse.up();
  const selected = await range(page);
  const share = 100 / strip.width;
  assert.ok(Math.abs(selected / stripped - share) < 0.02, 'the selection in the strip');

  await page.mouse.dblclick(strip.x, strip.y);
  assert.ok(await range(page) > whole * 0.99, 'a double click shows all');

  await page.keyboard.down('Shift');
  await page.mouse.move(lanes.x, lanes.y);
  await page.mouse.down();
  await page.mouse.move(lanes.x + 80, lanes.y, { steps: 5 });
  await page.mouse.up();
  await page.keyboard.up('Shift');
  assert.ok(Math.abs(await range(page) / whole - 80 / lanes.width) < 0.02, 'Shift and a drag');
});

test('keys zoom and pan', async () => {
  const whole = await range(page);
  await page.locator('#lanes').focus();
  await page.keyboard.press('+');
  await page.keyboard.press('w');
  const near = await range(page);
  assert.ok(Math.abs(near / whole - 0.49) < 0.01);
  const from = (await view(page)).start;
  await page.keyboard.press('ArrowRight');
  await drawn(page);
  assert.ok(Math.abs((await view(page)).start - from - near * 0.1) < 1e-6);
  await page.keyboard.press('ArrowLeft');
  await drawn(page);
  assert.ok(Math.abs((await view(page)).start - from) < 1e-6);
  await page.keyboard.press('Home');
  await drawn(page);
  assert.ok((await view(page)).start < from);
  await page.keyboard.press('-');
  assert.ok(await range(page) > near);
  await page.keyboard.press('0');
  assert.ok(await range(page) > whole * 0.99);
});

test('filters and the search select calls', async () => {
  const shown = async () => (await calls(page)).shown;
  await page.locator('#by-tool').selectOption('search');
  const searches = await shown();
  assert.ok(searches > 1_000 && searches < 3_000, `${searches}`);
  await page.locator('#by-tenant').selectOption('acme');
  const acme = await shown();
  assert.ok(acme > 0 && acme < searches);
  await page.locator('#outcome-completed').click();
  const bad = await shown();
  assert.ok(bad > 0 && bad < acme);
  assert.ok((await rowTexts(page, 4)).every((text) => text !== 'completed'));
  assert.equal(await page.locator('#count').textContent(), `${bad} of 10,002 calls`);

  await page.locator('#reset').click();
  assert.equal(await shown(), ALL);
  await page.keyboard.press('/');
  await page.keyboard.type('call-77 search');
  const found = await rowTexts(page, 2);
  assert.ok(found.length > 0 && found.every((id) => id.startsWith('call-77')), found.join());
  assert.ok((await rowTexts(page, 1)).every((tool) => tool === 'search'));
  await page.locator('#search').fill('no such call');
  assert.equal(await page.locator('#empty').textContent(), 'No call matches the filters.');
});

test('calls are grouped by tenant', async () => {
  const tools = (await stats(page)).titles;
  await page.locator('#group').selectOption('tenant');
  await drawn(page);
  assert.ok((await stats(page)).titles >= 1);
  await page.locator('#search').fill('call-77');
  await drawn(page);
  assert.equal((await stats(page)).titles, 3, 'three tenants have such calls');
  await page.locator('#group').selectOption('tool');
  await drawn(page);
  assert.equal((await stats(page)).titles, 5, `of ${tools}, five tools have such calls`);
});

test('the table has the rows in view only', async () => {
  assert.ok(await page.locator('.row').count() < 60);
  assert.equal(await page.locator('#grid').getAttribute('aria-rowcount'), String(ALL + 1));
  await page.locator('#rows').evaluate((rows) => { rows.scrollTop = rows.scrollHeight / 2; });
  await drawn(page);
  assert.ok(await page.locator('.row').count() < 60);
  const index = Number(await page.locator('.row').last().getAttribute('aria-rowindex'));
  assert.ok(index > 4_000 && index < 6_000, `row ${index}`);
  await page.locator('#rows').evaluate((rows) => { rows.scrollTop = 0; });
});

test('keys move in the table, open the details and close them', async () => {
  const active = () => page.evaluate(() => document.activeElement.getAttribute('aria-rowindex'));
  await page.locator('.row[tabindex="0"]').focus();
  await page.keyboard.press('Home');
  assert.equal(await active(), '2');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  assert.equal(await active(), '4');
  await page.keyboard.press('ArrowUp');
  assert.equal(await active(), '3');
  await page.keyboard.press('End');
  assert.equal(await active(), String(ALL + 1));
  await page.keyboard.press('PageUp');
  assert.ok(Number(await active()) < ALL);
  await page.keyboard.press('Home');
  assert.equal(await active(), '2');

  await page.keyboard.press('Enter');
  assert.ok(await page.locator('#details').isVisible());
  assert.equal(await page.evaluate(() => document.activeElement.id), 'details-title');
  const details = await page.locator('#details').textContent();
  assert.match(details, /Outcome/);
  assert.match(details, /Phases/);
  await page.keyboard.press('Escape');
  assert.ok(!await page.locator('#details').isVisible());
  assert.equal(await active(), '2', 'the row has the focus again');
});

test('the table is sorted by each column', async () => {
  const took = page.getByRole('columnheader', { name: 'Took' });
  assert.equal(await took.getAttribute('aria-sort'), 'none');
  await took.getByRole('button').click();
  assert.equal(await took.getAttribute('aria-sort'), 'ascending');
  await took.getByRole('button').press('Enter');
  assert.equal(await took.getAttribute('aria-sort'), 'descending');
  const milliseconds = (text) => Number.parseFloat(text) * (text.endsWith(' s') ? 1000 : text.endsWith('µs') ? 0.001 : 1);
  const times = (await rowTexts(page, 6)).map(milliseconds).slice(0, 20);
  assert.deepEqual(times, times.toSorted((a, b) => b - a));
  await page.getByRole('columnheader', { name: 'Start' }).getByRole('button').click();
  assert.equal(await took.getAttribute('aria-sort'), 'none');
});

test('details have the partial result, the error, the phases and the limits', async () => {
  await page.locator('#search').fill('search timeout');
  await page.locator('.row').first().click();
  const details = await page.locator('#details').textContent();
  assert.match(details, /Partial resultitem of \d+/);
  assert.match(details, /Error typetimeout/);
  assert.match(details, /timeout of 60ms expired/);
  assert.match(details, /Layers and limits/);
  assert.match(details, /└ timeout 25ms/);
});

test('a click on a bar opens its call', async () => {
  await page.locator('#search').fill('call-7777');
  await page.locator('#zoom-fit').click();
  await drawn(page);
  const box = await middle(page, '#lanes');
  await page.mouse.click(box.left + box.width / 2, box.top + 30);
  assert.ok(await page.locator('#details').isVisible());
  assert.match(await page.locator('#details-title').textContent(), /call-7777/);
  await page.mouse.click(box.x, box.top + box.height - 20);
  assert.ok(!await page.locator('#details').isVisible(), 'a click beside the bars closes them');
});

test('a live call appears, and its outcome changes', async () => {
  await page.locator('#search').fill('live-1');
  await server.post('start/live-1');
  const outcome = page.locator('.row .outcome').first();
  await page.waitForFunction(() => document.querySelector('.row .outcome')?.textContent === 'running');
  assert.equal(await page.locator('#connection').textContent(), 'live');
  const before = Number.parseFloat((await rowTexts(page, 6))[0]);
  await page.waitForFunction((took) => {
    const text = document.querySelector('.row').children[6].textContent;
    return Number.parseFloat(text) !== took;
  }, before);
  const { end, all } = await view(page);
  assert.ok(all, 'the view shows all of the call');
  await page.waitForFunction((least) => window.toolboothTimeline.view().end > least, end + 100);
  assert.equal((await view(page)).all, true, 'and grows with it');
  await server.post('finish');
  await page.waitForFunction(() => document.querySelector('.row .outcome')?.textContent === 'completed');
  assert.equal(await outcome.textContent(), 'completed');
});

test('hostile names are text', async () => {
  await page.locator('#search').fill('hostile');
  assert.equal((await calls(page)).shown, 2);
  await page.locator('.row').first().click();
  assert.match(await page.locator('#details').textContent(), /<img src=x onerror=/);
  assert.equal(await page.locator('#details img, .row img, option img').count(), 0);
  await page.locator('#search').fill('evil');
  const name = (await rowTexts(page, 1))[0];
  assert.equal(name, '⟨U+202E⟩evil⟨U+2066⟩␀␇⟨U+2028⟩');
  await page.locator('#reset').click();
  const { x, top } = await middle(page, '#lanes');
  await page.mouse.move(x, top + 40);
  assert.equal(await page.evaluate(() => window.hostile), undefined);
});

test('a file makes no request and has the same calls', async () => {
  const path = `${SHOTS}timeline.html`;
  writeFileSync(path, await server.text('file'));
  const file = await open(browser, pathToFileURL(path).href, { colorScheme: 'dark' });
  await loaded(file.page, ALL);
  assert.ok((await stats(file.page)).bars > 0);
  assert.equal(await file.page.evaluate(() => window.hostile), undefined);
  await file.page.locator('#search').fill('hostile');
  await file.page.locator('.row').first().click();
  assert.match(await file.page.locator('#details').textContent(), /<img src=x onerror=/);
  assert.ok(!await file.page.locator('#connection').isVisible());
  // A request that the page tries to make is blocked by its policy.
  const blocked = await file.page.evaluate(() => fetch('https://example.com/').then(() => false, () => true));
  assert.ok(blocked);
  assert.deepEqual(file.seen.requests.filter((url) => !url.startsWith('data:')), [pathToFileURL(path).href]);
  file.seen.errors = file.seen.errors.filter((text) => !text.includes('example.com'));
  assert.deepEqual(file.seen.errors, []);
  await file.close();
});

test('the canvases have the pixels of the screen, also after a resize', async () => {
  const dense = await open(browser, `${server.address}/timeline/`, { deviceScaleFactor: 2 });
  await loaded(dense.page, ALL);
  const sizes = () => dense.page.evaluate(() => ['bars', 'strip'].map((id) => {
    const canvas = document.getElementById(id);
    return canvas.width / canvas.clientWidth;
  }));
  assert.deepEqual(await sizes(), [2, 2]);
  await dense.page.setViewportSize({ width: 1000, height: 600 });
  await drawn(dense.page);
  await drawn(dense.page);
  assert.deepEqual(await sizes(), [2, 2]);
  assert.deepEqual(dense.seen.errors, []);
  await dense.close();
});

test('the theme follows the system and the switch', async () => {
  const used = () => page.evaluate(() => document.documentElement.dataset.theme);
  for (const colorScheme of ['dark', 'light']) {
    await page.emulateMedia({ colorScheme });
    await page.waitForFunction((theme) => document.documentElement.dataset.theme === theme, colorScheme);
  }
  await page.locator('#theme').click();
  await page.locator('#theme').click();
  assert.equal(await page.locator('#theme').textContent(), 'Theme: dark');
  assert.equal(await used(), 'dark');
  await page.locator('#theme').click();
  assert.equal(await used(), 'light');
});

test('axe finds no fault, light and dark', async () => {
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  await page.locator('#search').fill('search timeout');
  await page.locator('.row').first().click();
  await page.evaluate(axe);
  for (const colorScheme of ['light', 'dark']) {
    // Without motion, colours change at once.
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await page.waitForFunction((theme) => document.documentElement.dataset.theme === theme, colorScheme);
    const { violations } = await page.evaluate(() => window.axe.run());
    const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join('\n')}`);
    assert.deepEqual(found, [], colorScheme);
  }
  await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'no-preference' });
});

test('screenshots are taken, light and dark', async () => {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    await page.locator('#reset').click();
    await page.keyboard.press('Escape');
    await drawn(page);
    await page.screenshot({ path: `${SHOTS}all-${colorScheme}.png` });
    await page.locator('#search').fill('search timeout');
    await page.locator('.row').nth(1).click();
    for (let i = 0; i < 4; i += 1) await page.locator('#zoom-in').click();
    await page.locator('#search').fill('');
    await page.locator('.row[aria-selected="true"]').click();
    await drawn(page);
    await page.screenshot({ path: `${SHOTS}details-${colorScheme}.png` });
  }
  await page.emulateMedia({ colorScheme: 'light' });
});

test('a page whose service is closed is disconnected, and keeps its calls', async () => {
  const errors = seen.errors.length;
  await server.post('close');
  await page.waitForFunction(() => document.getElementById('connection').textContent === 'disconnected');
  assert.equal((await calls(page)).all, ALL + 1);
  // The browser reports the requests of its new attempts.
  seen.errors = seen.errors.filter((text, i) => i < errors || !text.includes('503'));
});

test('no error was reported, and no request left the origin', () => {
  assert.deepEqual(seen.errors, []);
  const requests = seen.requests.filter((url) => !url.startsWith('data:'));
  assert.ok(requests.length >= 2);
  assert.deepEqual(requests.filter((url) => !url.startsWith(`${server.address}/timeline`)), []);
});
