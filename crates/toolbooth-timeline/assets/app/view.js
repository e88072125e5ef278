// === The visible range of time ===

const view = { start: 0, end: 1, all: true, follow: false };
const SHORTEST = 0.001;

/** Returns the range of the calls that are shown. */
function fullRange() {
  let end = 0;
  for (const call of model.shown) end = Math.max(end, extent(call));
  // Timelines of a program that ran for an hour before its first call begin at that call.
  const start = model.shown.length > 0 ? model.shown[0].start : 0;
  const width = Math.max(end - start, 1);
  return { start: start - width * 0.01, end: start + width * 1.02 };
}

/** Shows a range, within the calls. */
function show(start, end) {
  const full = fullRange();
  const width = Math.min(Math.max(end - start, SHORTEST), full.end - full.start);
  view.start = Math.min(Math.max(start, full.start), full.end - width);
  view.end = view.start + width;
  view.all = width >= (full.end - full.start) * 0.999;
  view.follow = model.live && view.end >= full.end - width * 0.001;
  changedView();
}

function fit() {
  const full = fullRange();
  show(full.start, full.end);
}

/** Zooms by a factor; `at` is the share of the width that does not move. */
function zoom(factor, at = 0.5) {
  const width = view.end - view.start;
  const fixed = view.start + at * width;
  show(fixed - at * width * factor, fixed + (1 - at) * width * factor);
}

/** Pans by a share of the width. */
function pan(share) {
  const shift = share * (view.end - view.start);
  show(view.start + shift, view.end + shift);
}

/** Keeps the end of a live timeline in view, and its width unless it showed all. */
function followNow() {
  const width = view.end - view.start;
  const full = fullRange();
  view.start = view.all ? full.start : full.end - Math.min(width, full.end - full.start);
  view.end = full.end;
  changedView();
}

/** Returns round times for the axis. */
function ticks(width) {
  const range = view.end - view.start;
  const rough = range / Math.max(2, width / 110);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const times = [];
  for (let i = Math.ceil(view.start / step); i * step <= view.end; i += 1) times.push(i * step);
  return { step, times };
}
