// === The strip: in flight and queued over time, and the axis ===

const STRIP = { height: 98, thumb: 5, rows: [[8, 22], [43, 22]], label: 13, axis: 79 };
let levels = [];

function readLevels() {
  levels = [
    { name: 'in flight', color: 'completed', ...levelOf(model.shown, ['run', 'grace']) },
    { name: 'queued', color: 'muted', ...levelOf(model.shown, ['queue']) },
  ];
}

function drawStrip() {
  const canvas = byId('strip');
  const width = canvas.clientWidth;
  if (width === 0) return;
  const context = prepareCanvas(canvas, width, STRIP.height);
  drawThumb(context, width);
  const { step, times } = ticks(width);
  context.fillStyle = colors.line;
  for (const time of times) context.fillRect(Math.round(xOf(time, width)), 8, 1, STRIP.height - 8);
  levels.forEach((level, i) => drawLevel(context, width, level, ...STRIP.rows[i]));
  context.fillStyle = colors.line;
  context.fillRect(0, STRIP.height - 1, width, 1);
  context.fillStyle = colors.muted;
  context.font = FONT;
  for (const time of times) {
    const label = moment(Math.abs(time) < step / 1e6 ? 0 : time, step);
    const x = xOf(time, width) + 4;
    if (x + textWidth(context, label) < width) context.fillText(label, x, STRIP.axis + 9);
  }
  if (drag?.kind === 'select') {
    context.globalAlpha = 0.2;
    context.fillStyle = colors.accent;
    context.fillRect(Math.min(drag.from, drag.to), 0, Math.abs(drag.to - drag.from), STRIP.height);
    context.globalAlpha = 1;
  }
}

/** Draws which part of the whole is in view. */
function drawThumb(context, width) {
  const full = fullRange();
  const scale = width / (full.end - full.start);
  context.fillStyle = colors.line;
  context.fillRect(0, 0, width, STRIP.thumb);
  context.fillStyle = colors['strong-line'];
  const thumb = Math.max(3, (view.end - view.start) * scale);
  context.fillRect(Math.min((view.start - full.start) * scale, width - thumb), 0, thumb, STRIP.thumb);
}

/** Draws the most calls within each pixel. */
function drawLevel(context, width, level, top, height) {
  const { times, values, most, name } = level;
  const perPixel = (view.end - view.start) / width;
  let i = firstAbove(times.length, (at) => times[at], view.start);
  let value = i > 0 ? values[i - 1] : 0;
  const last = model.live ? now() : Infinity;
  const base = top + STRIP.label + height;
  const color = colors[level.color];
  context.beginPath();
  context.moveTo(0, base);
  for (let x = 0; x < width; x += 1) {
    const until = view.start + (x + 1) * perPixel;
    let highest = value;
    while (i < times.length && times[i] <= until) {
      value = values[i];
      highest = Math.max(highest, value);
      i += 1;
    }
    if (until > last) highest = value = 0;
    const y = most > 0 ? base - (highest / most) * (height - 1) : base;
    context.lineTo(x, y);
    context.lineTo(x + 1, y);
  }
  context.lineTo(width, base);
  context.fillStyle = name === 'queued' ? pattern(context, 'queue', color) : color;
  context.globalAlpha = name === 'queued' ? 0.8 : 0.35;
  context.fill();
  context.globalAlpha = 1;
  context.strokeStyle = color;
  context.lineWidth = 1;
  context.stroke();
  const text = `${name}, at most ${count(most)}`;
  context.font = FONT;
  context.fillStyle = colors.muted;
  context.fillText(text, 8, top + STRIP.label / 2);
}
