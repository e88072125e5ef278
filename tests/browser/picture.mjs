// Takes the README's picture of a page.
//
//   node picture.mjs ../../target/timeline.html ../../crates/toolbooth-timeline/docs/page.png

import { pathToFileURL } from 'node:url';
import { drawn, launch, loaded, open } from './support.mjs';

const [file, to] = process.argv.slice(2);
const browser = await launch();
const { page } = await open(browser, pathToFileURL(file).href, {
  viewport: { width: 1280, height: 640 },
  colorScheme: 'light',
});
await loaded(page, 1);
await page.locator('#outcomes button:visible').first().waitFor();
// A call that failed after it had emitted a part of its items.
const row = page.locator('.row', { hasText: 'import' }).first();
await row.click();
await page.mouse.move(0, 0);
await page.evaluate(() => document.activeElement.blur());
await drawn(page);
await page.screenshot({ path: to });
await browser.close();
