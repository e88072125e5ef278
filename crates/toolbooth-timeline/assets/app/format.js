// === Outcomes and phases ===

// Each outcome has a shape of its own, so that it does not depend on its colour. Paths in a box of
// 12 by 12. The rank decides the colour of bars that share a pixel.
const OUTCOMES = {
  completed: { label: 'completed', rank: 1, path: 'M1.5 6.4 3 4.9 5 6.9 9.4 2.5 10.9 4 5 9.9z' },
  running: { label: 'running', rank: 2, path: 'M3 1.5 10.5 6 3 10.5z' },
  reported: { label: 'error result', rank: 3, path: 'M1 1h10v10H1zM2.5 2.5v7h7v-7zM5.2 3.4h1.6v3.3H5.2zM5.2 7.3h1.6v1.5H5.2z' },
  cancelled: { label: 'cancelled', rank: 4, path: 'M2 2h8v8H2zM3.6 3.6v4.8h4.8V3.6z' },
  rejected: { label: 'rejected', rank: 5, path: 'M6 .8a5.2 5.2 0 1 1 0 10.4A5.2 5.2 0 0 1 6 .8zM2.8 5v2h6.4V5z' },
  timed_out: { label: 'timed out', rank: 6, path: 'M2 1h8v1.4L7.2 6 10 9.6V11H2V9.6L4.8 6 2 2.4zM4.4 9.6h3.2L6 7.6z' },
  failed: { label: 'failed', rank: 7, path: 'M2.7 1.3 6 4.6l3.3-3.3 1.4 1.4L7.4 6l3.3 3.3-1.4 1.4L6 7.4l-3.3 3.3-1.4-1.4L4.6 6 1.3 2.7z' },
  panicked: { label: 'panicked', rank: 8, path: 'M6 .6 11.6 11H.4zM5.2 4v3.8h1.6V4zM5.2 8.6V10h1.6V8.6z' },
};
const OUTCOME_NAMES = Object.keys(OUTCOMES);
const BY_RANK = OUTCOME_NAMES.slice().sort((a, b) => OUTCOMES[a].rank - OUTCOMES[b].rank);
const PHASES = {
  queue: 'queued',
  run: 'running',
  idle: 'idle',
  backoff: 'backoff',
  grace: 'grace',
  cleanup: 'cleanup',
};

// === Text ===

const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]|\p{Cs}|[\u{e0000}-\u{e007f}]/gu;

/** Returns a text in which characters that are invisible or change the direction can be seen. */
function visible(text) {
  return String(text).replace(INVISIBLE, (c) => {
    const code = c.codePointAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return '\u2421';
    return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, '0')}\u27e9`;
  });
}

/** Like `visible` for contents of several lines: line breaks and tabs remain. */
function visibleLines(text) {
  return String(text).split(/\r?\n/).map((line) => line.split('\t').map(visible).join('\t')).join('\n');
}

const NUMBER = new Intl.NumberFormat('en-US');
const count = (n) => NUMBER.format(n);

function plural(n, noun) {
  return `${count(n)} ${noun}${n === 1 ? '' : 's'}`;
}

/** Formats a duration in milliseconds with three digits. */
function duration(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return '–';
  const size = Math.abs(ms);
  if (size === 0) return '0 ms';
  if (size < 0.9995) return `${(ms * 1000).toFixed(0)} µs`;
  if (size < 9.995) return `${ms.toFixed(2)} ms`;
  if (size < 99.95) return `${ms.toFixed(1)} ms`;
  if (size < 999.5) return `${ms.toFixed(0)} ms`;
  if (size < 9995) return `${(ms / 1000).toFixed(2)} s`;
  if (size < 59950) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(size / 60000);
  const seconds = Math.floor((size % 60000) / 1000);
  const text = minutes < 60
    ? `${minutes} m ${String(seconds).padStart(2, '0')} s`
    : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} m`;
  return ms < 0 ? `−${text}` : text;
}

/** Formats a moment in milliseconds since the origin; `step` is the distance of the ticks. */
function moment(ms, step) {
  const digits = step >= 1000 ? 0 : Math.min(6, Math.ceil(-Math.log10(step / 1000) - 1e-9));
  return `${ms < 0 ? '−' : ''}${(Math.abs(ms) / 1000).toFixed(digits)} s`;
}

function bytes(n) {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${(n / 1e3).toFixed(1)} kB`;
  if (n < 1e9) return `${(n / 1e6).toFixed(1)} MB`;
  return `${(n / 1e9).toFixed(1)} GB`;
}

// === Elements ===

const byId = (id) => document.getElementById(id);

/** Creates an element. Text is set with `textContent`, never as HTML. */
function element(tag, { text, ...attributes } = {}, ...children) {
  const created = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) created.setAttribute(name, value);
  }
  if (text !== undefined) created.textContent = text;
  created.append(...children);
  return created;
}

const SVG = 'http://www.w3.org/2000/svg';

/** Creates the icon of an outcome, in its colour. */
function icon(outcome) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('viewBox', '0 0 12 12');
  svg.setAttribute('aria-hidden', 'true');
  svg.style.color = `var(--${outcome})`;
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', OUTCOMES[outcome].path);
  path.setAttribute('fill-rule', 'evenodd');
  svg.append(path);
  return svg;
}
