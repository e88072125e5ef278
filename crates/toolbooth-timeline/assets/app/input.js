// === Mouse and keys of the waterfall and the strip ===

/** The drag that is going on: `{ kind: 'pan' | 'select', .. }`. */
let drag = null;

function listenToChart() {
  const lanes = byId('lanes');
  const strip = byId('strip');
  for (const target of [lanes, strip]) {
    target.addEventListener('wheel', onWheel, { passive: false });
    target.addEventListener('pointerdown', onDown);
    target.addEventListener('pointermove', onMove);
    target.addEventListener('pointerup', onUp);
    target.addEventListener('pointercancel', () => endDrag());
  }
  lanes.addEventListener('pointerleave', hideTip);
  lanes.addEventListener('scroll', () => changedView());
  lanes.addEventListener('keydown', onChartKey);
  strip.addEventListener('dblclick', fit);
}

function xIn(event) {
  return event.clientX - byId('lanes').getBoundingClientRect().left;
}

function onWheel(event) {
  const lanes = byId('lanes');
  const width = lanes.clientWidth;
  const scrolls = event.currentTarget === lanes && lanes.scrollHeight > lanes.clientHeight + 1;
  const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
  const unit = event.deltaMode === 0 ? 1 : 20;
  if (event.ctrlKey || event.metaKey) zoomByWheel(event, unit, width);
  else if (Math.abs(sideways) > Math.abs(event.deltaY) || event.shiftKey) pan((sideways * unit) / width);
  else if (!scrolls) zoomByWheel(event, unit, width);
  else return;
  event.preventDefault();
}

function zoomByWheel(event, unit, width) {
  const amount = Math.min(Math.max(event.deltaY * unit, -300), 300);
  zoom(Math.exp(amount * 0.0025), Math.min(1, Math.max(0, xIn(event) / width)));
}

function onDown(event) {
  if (event.button !== 0) return;
  // A press on the scroll bar is not for the chart.
  if (event.currentTarget.id === 'lanes' && xIn(event) >= byId('lanes').clientWidth) return;
  const x = xIn(event);
  const kind = event.currentTarget.id === 'strip' || event.shiftKey ? 'select' : 'pan';
  drag = {
    kind,
    from: x,
    to: x,
    moved: false,
    y: event.clientY,
    start: view.start,
    end: view.end,
    scroll: byId('lanes').scrollTop,
  };
  event.currentTarget.setPointerCapture(event.pointerId);
  hideTip();
}

function onMove(event) {
  const x = xIn(event);
  if (drag === null) {
    if (event.currentTarget.id === 'lanes') showTip(event);
    return;
  }
  drag.to = x;
  drag.moved ||= Math.abs(x - drag.from) > 3 || Math.abs(event.clientY - drag.y) > 3;
  if (!drag.moved) return;
  if (drag.kind === 'pan') {
    byId('lanes').classList.add('dragging');
    const shift = ((drag.from - x) / byId('lanes').clientWidth) * (drag.end - drag.start);
    byId('lanes').scrollTop = drag.scroll - (event.clientY - drag.y);
    show(drag.start + shift, drag.end + shift);
  } else changedView();
}

function onUp(event) {
  if (drag === null) return;
  const { kind, from, to, moved } = drag;
  const onLanes = event.currentTarget.id === 'lanes';
  endDrag();
  if (!moved && onLanes) {
    const call = callAt(xIn(event), event.clientY - byId('lanes').getBoundingClientRect().top);
    if (call === undefined) closeDetails();
    else choose(call.n);
  } else if (moved && kind === 'select') {
    const scale = (view.end - view.start) / byId('lanes').clientWidth;
    const [left, right] = [Math.min(from, to), Math.max(from, to)];
    show(view.start + left * scale, view.start + right * scale);
  }
}

function endDrag() {
  drag = null;
  byId('lanes').classList.remove('dragging');
  changedView();
}

function onChartKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const actions = {
    ArrowLeft: () => pan(-0.1),
    ArrowRight: () => pan(0.1),
    a: () => pan(-0.1),
    d: () => pan(0.1),
    '+': () => zoom(0.7),
    '=': () => zoom(0.7),
    w: () => zoom(0.7),
    '-': () => zoom(1 / 0.7),
    s: () => zoom(1 / 0.7),
    0: fit,
    Home: () => show(-Infinity, -Infinity),
    End: () => show(Infinity, Infinity),
  };
  const action = actions[event.key];
  if (action === undefined) return;
  if (event.key === 'Home' || event.key === 'End') {
    const full = fullRange();
    const width = view.end - view.start;
    if (event.key === 'Home') show(full.start, full.start + width);
    else show(full.end - width, full.end);
  } else action();
  event.preventDefault();
}

// === The tip at the pointer ===

function showTip(event) {
  const box = byId('lanes').getBoundingClientRect();
  const call = callAt(event.clientX - box.left, event.clientY - box.top);
  if (call === undefined) {
    hideTip();
    return;
  }
  const time = view.start + ((event.clientX - box.left) / byId('lanes').clientWidth) * (view.end - view.start);
  const phase = call.phases.findLast((each) => each[1] <= time && time <= phaseEnd(each));
  const tip = byId('tip');
  const queued = sum(call, 'queue');
  tip.replaceChildren(...[
    `${call.toolName} · ${call.idName}`,
    `${OUTCOMES[call.outcome].label} · ${duration(callEnd(call) - call.start)}`
      + (queued > 0 ? ` · queued ${duration(queued)}` : ''),
    ...(phase === undefined ? [] : [`here: ${PHASES[phase[0]] ?? ''}${phase[3] ? `, ${visible(phase[3])}` : ''}`]),
  ].map((text) => element('p', { text })));
  tip.hidden = false;
  const chart = tip.parentElement.getBoundingClientRect();
  const x = Math.min(event.clientX - chart.left + 12, chart.width - tip.offsetWidth - 4);
  const y = event.clientY - chart.top + 16;
  tip.style.left = `${Math.max(4, x)}px`;
  tip.style.top = `${y + tip.offsetHeight > chart.height ? y - tip.offsetHeight - 28 : y}px`;
}

function hideTip() {
  byId('tip').hidden = true;
}
