// === Canvases, colours and patterns ===

const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const SMALL = FONT.replace('11px', '10px');

let colors = {};
const patterns = new Map();
const widths = new Map();
const shapes = Object.fromEntries(
  OUTCOME_NAMES.map((name) => [name, new Path2D(OUTCOMES[name].path)]));

/** Reads the colours of the style sheet. */
function readColors() {
  const style = getComputedStyle(document.documentElement);
  const names = ['bg', 'panel', 'line', 'strong-line', 'text', 'muted', 'accent', 'chosen', 'on-bar',
    'on-light-bar', ...OUTCOME_NAMES];
  colors = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  patterns.clear();
}

/** Sizes a canvas for its place and the screen's pixels, and returns its cleared context. */
function prepareCanvas(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const context = canvas.getContext('2d');
  context.setTransform(w / width || 1, 0, 0, h / height || 1, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = FONT;
  context.textBaseline = 'middle';
  context.direction = 'ltr';
  return context;
}

/** Returns a pattern of a phase: hatched, dotted or striped. */
function pattern(context, kind, color) {
  const ratio = window.devicePixelRatio || 1;
  const key = `${kind} ${color} ${ratio}`;
  let made = patterns.get(key);
  if (made !== undefined) return made;
  const size = kind === 'idle' ? 4 : 6;
  const tile = document.createElement('canvas');
  tile.width = tile.height = Math.round(size * ratio);
  const draw = tile.getContext('2d');
  draw.scale(tile.width / size, tile.height / size);
  draw.strokeStyle = draw.fillStyle = color;
  if (kind === 'queue') {
    draw.lineWidth = 1.3;
    draw.beginPath();
    for (const x of [-6, 0, 6]) {
      draw.moveTo(x - 1, size + 1);
      draw.lineTo(x + size + 1, -1);
    }
    draw.stroke();
  } else if (kind === 'grace') {
    draw.fillRect(0, 0, 3, size);
  } else {
    draw.fillRect(0, 0, 1.6, 1.6);
    draw.fillRect(2, 2, 1.6, 1.6);
  }
  made = context.createPattern(tile, 'repeat');
  made.setTransform(new DOMMatrix().scale(1 / ratio));
  patterns.set(key, made);
  return made;
}

/** Draws a phase of a call into a box. */
function paintPhase(context, kind, outcome, x, y, width, height) {
  const color = colors[outcome];
  switch (kind) {
    case 'queue': {
      const inset = Math.max(1, Math.round(height * 0.2));
      context.fillStyle = colors.bg;
      context.fillRect(x, y, width, height);
      context.fillStyle = pattern(context, 'queue', color);
      context.fillRect(x, y + inset, width, height - 2 * inset);
      if (width >= 4 && height >= 8) {
        context.strokeStyle = color;
        context.lineWidth = 1;
        context.strokeRect(x + 0.5, y + inset + 0.5, width - 1, height - 2 * inset - 1);
      }
      break;
    }
    case 'backoff':
      context.fillStyle = colors.muted;
      for (let dash = x; dash < x + width; dash += 5) {
        context.fillRect(dash, y + height / 2 - 1, Math.min(3, x + width - dash), 2);
      }
      break;
    case 'idle':
    case 'grace':
      context.fillStyle = colors.bg;
      context.fillRect(x, y, width, height);
      context.globalAlpha = 0.25;
      context.fillStyle = color;
      context.fillRect(x, y, width, height);
      context.globalAlpha = 1;
      context.fillStyle = pattern(context, kind, color);
      context.fillRect(x, y, width, height);
      break;
    case 'cleanup':
      context.fillStyle = colors.muted;
      context.fillRect(x, y + Math.ceil(height * 0.6), width, Math.floor(height * 0.4));
      break;
    default:
      context.fillStyle = color;
      context.fillRect(x, y, width, height);
  }
}

/** Draws a mark: the deadline, a limit that expired, the first item. */
function paintMark(context, kind, x, y, height) {
  if (kind === 'first_item') {
    context.fillStyle = colors.bg;
    context.beginPath();
    context.moveTo(x - 3, y + height);
    context.lineTo(x + 3, y + height);
    context.lineTo(x, y + height - 5);
    context.fill();
    return;
  }
  context.fillStyle = colors.text;
  const width = kind === 'expired' ? 2 : 1;
  context.fillRect(x - width / 2, y - 1, width, height + 2);
  if (kind === 'expired') return;
  context.beginPath();
  context.moveTo(x - 3.5, y - 1);
  context.lineTo(x + 3.5, y - 1);
  context.lineTo(x, y + 4);
  context.fill();
}

function paintIcon(context, outcome, x, y) {
  context.save();
  context.translate(x, y);
  context.fillStyle = colors[outcome];
  context.fill(shapes[outcome], 'evenodd');
  context.restore();
}

/** Returns the width of a text in the font of the chart. */
function textWidth(context, text) {
  let width = widths.get(text);
  if (width === undefined) {
    if (widths.size > 20_000) widths.clear();
    widths.set(text, width = context.measureText(text).width);
  }
  return width;
}

/** Returns the text, or its beginning and an ellipsis if it is too wide. */
function fitted(context, text, room) {
  if (text.length > 200) text = `${text.slice(0, 200)}…`;
  if (textWidth(context, text) <= room) return text;
  let low = 0;
  let high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= room) low = middle;
    else high = middle - 1;
  }
  return low === 0 ? '' : `${text.slice(0, low)}…`;
}
