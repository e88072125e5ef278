// === The waterfall ===

const TITLE = 22;
let groups = [];
let layout = { lane: 18, height: 0 };
/** What the last frame drew. Tests read it. */
const stats = { frames: 0, bars: 0, merged: 0, titles: 0, milliseconds: 0 };

const xOf = (time, width) => ((time - view.start) / (view.end - view.start)) * width;

/** Groups the calls, and chooses the height of a lane: the more lanes, the lower. */
function readGroups() {
  groups = groupsOf(model.shown);
  const lanes = groups.reduce((total, group) => total + group.lanes.length, 0);
  const room = byId('lanes').clientHeight - groups.length * (TITLE + 4);
  const lane = Math.min(18, Math.max(lanes > 200 ? 5 : 14, Math.floor(room / lanes)));
  let top = 0;
  for (const group of groups) {
    group.top = top;
    top += TITLE + group.lanes.length * lane + 4;
  }
  layout = { lane, height: top };
  // The canvas takes the rest.
  byId('lanes-height').style.height = `${Math.max(0, top - byId('lanes').clientHeight)}px`;
}

function drawLanes() {
  const box = byId('lanes');
  const [width, height] = [box.clientWidth, box.clientHeight];
  if (width === 0 || height === 0) return;
  const canvas = byId('bars');
  const begun = performance.now();
  const context = prepareCanvas(canvas, width, height);
  Object.assign(stats, { bars: 0, merged: 0, titles: 0 });
  context.fillStyle = colors.line;
  for (const time of ticks(width).times) context.fillRect(Math.round(xOf(time, width)), 0, 1, height);
  for (const group of groups) {
    const top = group.top - box.scrollTop;
    if (top > height) break;
    const lanesTop = top + TITLE;
    if (lanesTop + group.lanes.length * layout.lane < 0) continue;
    const from = Math.max(0, Math.floor(-lanesTop / layout.lane));
    const to = Math.min(group.lanes.length, Math.ceil((height - lanesTop) / layout.lane));
    for (let lane = from; lane < to; lane += 1) {
      drawLane(context, group.lanes[lane], lanesTop + lane * layout.lane, width);
    }
    drawTitle(context, group, Math.max(top, Math.min(0, lanesTop + group.lanes.length * layout.lane - TITLE)), width);
  }
  if (drag?.kind === 'select') {
    context.globalAlpha = 0.15;
    context.fillStyle = colors.accent;
    context.fillRect(Math.min(drag.from, drag.to), 0, Math.abs(drag.to - drag.from), height);
    context.globalAlpha = 1;
  }
  stats.frames += 1;
  stats.milliseconds = performance.now() - begun;
}

/** Draws the title of a group, which stays in view while its lanes are. */
function drawTitle(context, group, y, width) {
  stats.titles += 1;
  context.fillStyle = colors.panel;
  context.fillRect(0, y, width, TITLE - 2);
  context.fillStyle = colors.line;
  context.fillRect(0, y, width, 1);
  context.font = `600 ${FONT}`;
  context.fillStyle = colors.text;
  const name = fitted(context, group.name, width * 0.5);
  const after = 16 + context.measureText(name).width;
  context.fillText(name, 8, y + TITLE / 2);
  context.font = FONT;
  context.fillStyle = colors.muted;
  context.fillText(fitted(context, group.title, Math.max(0, width - after - 8)), after, y + TITLE / 2);
}

/** Draws the calls of a lane in view. Those thinner than a pixel share a bar. */
function drawLane(context, lane, y, width) {
  const height = layout.lane >= 9 ? layout.lane - 3 : layout.lane - 1;
  const run = { from: -1, to: -1, rank: 0 };
  let column = -1;
  let rank = 0;
  const flushRun = () => {
    if (run.from < 0) return;
    context.fillStyle = colors[BY_RANK[run.rank - 1]];
    context.fillRect(run.from, y, run.to - run.from, height);
    stats.merged += 1;
    run.from = -1;
  };
  // Columns of the same colour that touch are one run.
  const flushColumn = () => {
    if (column < 0) return;
    if (run.from >= 0 && run.to === column && run.rank === rank) run.to = column + 1;
    else {
      flushRun();
      Object.assign(run, { from: column, to: column + 1, rank });
    }
    column = -1;
  };
  let i = firstAbove(lane.length, (at) => extent(lane[at]), view.start);
  for (; i < lane.length && lane[i].start <= view.end; i += 1) {
    const call = lane[i];
    const left = xOf(call.start, width);
    const right = xOf(extent(call), width);
    if (right - left < 1) {
      const at = Math.max(0, Math.floor(left));
      if (at === column) rank = Math.max(rank, OUTCOMES[call.outcome].rank);
      else {
        flushColumn();
        column = at;
        rank = OUTCOMES[call.outcome].rank;
      }
      if (call.n === chosen) drawChosen(context, left, left + 2, y, height);
    } else {
      flushColumn();
      flushRun();
      const next = i + 1 < lane.length ? xOf(lane[i + 1].start, width) : width;
      drawBar(context, call, left, right, Math.min(next, width), y, height, width);
    }
  }
  flushColumn();
  flushRun();
}

const wider = (a, b) => (b[1] - b[0] > a[1] - a[0] ? b : a);

function drawBar(context, call, left, right, next, y, height, width) {
  stats.bars += 1;
  let room = [0, 0];
  if (right - left < 3 || call.phases.length === 0) {
    paintPhase(context, 'run', call.outcome, left, y, Math.max(1, right - left), height);
  } else {
    for (const phase of call.phases) {
      const from = Math.max(-4, xOf(phase[1], width));
      const to = Math.min(width + 4, xOf(phaseEnd(phase), width));
      if (to <= from) continue;
      paintPhase(context, phase[0], call.outcome, from, y, Math.max(1, to - from), height);
      if (phase[0] === 'run') room = wider(room, [Math.max(from, 0), Math.min(to, width)]);
      // A label is not legible over a pattern.
      else if (from < room[1] && to > room[0]) {
        room = wider([room[0], from], [to, room[1]]);
      }
    }
  }
  const end = xOf(callEnd(call), width);
  // A cap in the colour of the outcome, also where the call ended in a queue.
  if (call.outcome !== 'completed' && call.end !== null && right - left >= 3) {
    context.fillStyle = colors[call.outcome];
    context.fillRect(end - 2, y, 2, height);
  }
  if (layout.lane >= 9 && right - left >= 8) drawMarks(context, call, next, y, height, width, right - left >= 32);
  if (call.n === chosen) drawChosen(context, left, right, y, height);
  if (layout.lane >= 14) drawLabel(context, call, right, next, room, y, height, width);
}

/** Draws the first item, expired limits and the deadline. */
function drawMarks(context, call, next, y, height, width, isWide) {
  for (const [kind, time] of [['first_item', call.first_item], ...call.marks]) {
    if (typeof time !== 'number' || (kind === 'first_item' ? !isWide : kind !== 'expired')) continue;
    const x = xOf(time, width);
    if (x >= 0 && x <= width) paintMark(context, kind, x, y, height);
  }
  if (call.deadline === null || call.deadline === undefined) return;
  const x = xOf(call.deadline, width);
  if (x >= 0 && x <= next) paintMark(context, 'deadline', x, y, height);
}

function drawChosen(context, left, right, y, height) {
  context.strokeStyle = colors.accent;
  context.lineWidth = 2;
  const from = Math.max(-4, left - 1.5);
  context.strokeRect(from, y - 1, Math.min(right + 1.5, 1e5) - from, height + 2);
}

/** Writes the name of a call into its run part, or after the bar. */
function drawLabel(context, call, right, next, [from, to], y, height, width) {
  context.font = SMALL;
  const text = `${filters.group === 'tenant' ? call.toolName : call.idName}  ${duration(callEnd(call) - call.start)}`;
  const middle = y + height / 2 + 0.5;
  const bad = call.outcome !== 'completed';
  let after = right + 4;
  // The mark of a deadline soon after the end comes before the label.
  const mark = typeof call.deadline === 'number' ? xOf(call.deadline, width) : -1;
  if (mark > right - 4 && mark < Math.min(next, right + 80)) after = mark + 6;
  else if (mark > right) next = Math.min(next, mark);
  if (bad && next - after > 14) {
    paintIcon(context, call.outcome, after, middle - 6.5);
    after += 15;
  }
  if (to - from > 40 && textWidth(context, text) * 0.91 <= to - from - 8) {
    context.fillStyle = colors[['timed_out', 'rejected'].includes(call.outcome) ? 'on-light-bar' : 'on-bar'];
    context.fillText(text, from + 4, middle);
  } else if (next - after > 40) {
    context.fillStyle = colors.muted;
    context.fillText(fitted(context, text, next - after - 6), after, middle);
  }
}

/** Returns the call at a place of the waterfall. */
function callAt(x, y) {
  const box = byId('lanes');
  const width = box.clientWidth;
  const down = y + box.scrollTop;
  const group = groups.find((each) => down >= each.top + TITLE
    && down < each.top + TITLE + each.lanes.length * layout.lane);
  if (group === undefined) return undefined;
  const lane = group.lanes[Math.floor((down - group.top - TITLE) / layout.lane)];
  let nearest;
  let least = 4;
  const perPixel = (view.end - view.start) / width;
  let i = firstAbove(lane.length, (at) => extent(lane[at]), view.start + (x - 4) * perPixel);
  for (; i < lane.length; i += 1) {
    const away = Math.max(xOf(lane[i].start, width) - x, x - xOf(extent(lane[i]), width), 0);
    if (away >= least) break;
    [nearest, least] = [lane[i], away];
    if (away === 0) break;
  }
  return nearest;
}

/** Scrolls and pans so that a call can be seen. */
function reveal(call) {
  const box = byId('lanes');
  const group = groups.find((each) => each.calls.includes(call));
  if (group === undefined) return;
  const lane = group.lanes.findIndex((each) => each.includes(call));
  const top = group.top + TITLE + lane * layout.lane;
  if (top < box.scrollTop + TITLE || top + layout.lane > box.scrollTop + box.clientHeight) {
    box.scrollTop = top - box.clientHeight / 2;
  }
  const width = view.end - view.start;
  if (extent(call) < view.start || call.start > view.end) {
    show(call.start - width * 0.2, call.start + width * 0.8);
  }
}
