// === The details of a call ===

/** Opens the details of a call. */
function choose(n, { focus = false } = {}) {
  chosen = n;
  active = n;
  drawDetails();
  reveal(model.calls.get(n));
  changedView();
  const at = sorted.findIndex((call) => call.n === n);
  if (at >= 0) activate(at, false);
  if (focus) byId('details-title').focus();
}

function closeDetails() {
  if (chosen === null) return;
  chosen = null;
  drawDetails();
  changedView();
  activate(sorted.findIndex((call) => call.n === active));
}

function drawDetails() {
  const call = model.calls.get(chosen);
  byId('details').hidden = call === undefined;
  if (call === undefined) {
    chosen = null;
    return;
  }
  byId('details-title').replaceChildren(
    icon(call.outcome), element('span', { text: `${call.toolName} · ${call.idName}` }));
  const top = byId('details-body').scrollTop;
  byId('details-body').replaceChildren(...[
    fields(call),
    ...phaseTable(call),
    ...partial(call),
    ...stack(call),
  ]);
  byId('details-body').scrollTop = top;
  drawPlaces();
}

function fields(call) {
  const list = element('dl');
  const add = (name, value, wide = false) => {
    if (value === null || value === undefined || value === '') return;
    list.append(element('dt', { text: name, class: wide ? 'wide' : null }),
      element('dd', { class: wide ? 'wide' : null }, value instanceof Node ? value : String(value)));
  };
  add('Outcome', OUTCOMES[call.outcome].label);
  add('Tenant', call.tenantName);
  add('Took', duration(callEnd(call) - call.start));
  add('Queued', duration(sum(call, 'queue')));
  add('Start', moment(call.start, 1));
  add('End', call.end === null ? 'running' : moment(call.end, 1));
  if (typeof call.deadline === 'number') {
    const left = call.deadline - callEnd(call);
    add('Deadline', `${moment(call.deadline, 1)}, ${duration(Math.abs(left))} ${left >= 0 ? 'after' : 'before'} the end`);
  }
  add('Date', clock(call.start));
  add('Attempts', count(call.attempts));
  add('Items', `${count(call.items)}, ${bytes(call.bytes)}`);
  if (typeof call.first_item === 'number') add('First item', `after ${duration(call.first_item - call.start)}`);
  if (typeof call.retry_after_ms === 'number') add('Retry after', duration(call.retry_after_ms));
  if (call.error_type) add('Error type', visible(call.error_type));
  if (typeof call.parent === 'number') add('Called by', link(call.parent), true);
  const children = model.all.filter((each) => each.parent === call.n);
  if (children.length > 0) {
    const links = element('span');
    children.slice(0, 50).forEach((child, i) => links.append(i > 0 ? ', ' : '', link(child.n)));
    if (children.length > 50) links.append(`, and ${count(children.length - 50)} more`);
    add('Calls', links, true);
  }
  if (call.error) add('Error', visible(call.error), true);
  return list;
}

function clock(ms) {
  const date = new Date(model.origin + ms);
  return Number.isNaN(date.getTime()) ? '' : `${date.toISOString().slice(0, 23).replace('T', ' ')}Z`;
}

/** A button that opens another call, or its number if it is not in the timeline. */
function link(n) {
  const call = model.calls.get(n);
  if (call === undefined) return element('span', { text: `number ${n}, no longer recorded` });
  const button = element('button', {
    type: 'button', class: 'link', text: `${call.toolName} ${call.idName}`,
  });
  button.addEventListener('click', () => choose(n, { focus: true }));
  return button;
}

function phaseTable(call) {
  const body = element('tbody');
  const rowsOf = [
    ...call.phases.map((phase) => ({ time: phase[1], phase })),
    ...call.marks.map((mark) => ({ time: mark[1], mark })),
    ...(typeof call.first_item === 'number' ? [{ time: call.first_item, mark: ['first item'] }] : []),
  ].sort((a, b) => a.time - b.time);
  for (const { time, phase, mark } of rowsOf.slice(0, 200)) {
    const at = duration(time - call.start);
    if (mark !== undefined) {
      body.append(element('tr', {},
        element('td', { text: mark[0].replace('_', ' ') }),
        element('td', { text: mark[2] ? visible(mark[2]) : '' }),
        element('td', { class: 'number', text: at }), element('td'), element('td')));
      continue;
    }
    const place = element('canvas', {
      'data-kind': phase[0], 'data-from': phase[1], 'data-to': phaseEnd(phase), 'aria-hidden': 'true',
    });
    const attempt = call.attempts > 1 && phase[4] > 0 ? `attempt ${phase[4]}` : '';
    body.append(element('tr', {},
      element('td', { text: PHASES[phase[0]] ?? visible(phase[0]) }),
      element('td', { text: [phase[3] ? visible(phase[3]) : '', attempt].filter(Boolean).join(', ') }),
      element('td', { class: 'number', text: at }),
      element('td', { class: 'number', text: duration(phaseEnd(phase) - phase[1]) }),
      element('td', { class: 'place' }, place)));
  }
  if (body.children.length === 0) return [];
  const head = element('thead', {}, element('tr', {},
    ...['Phase', 'Layer', 'At', 'Took', 'Place'].map((text, i) =>
      element('th', { scope: 'col', text, class: i === 2 || i === 3 ? 'number' : null }))));
  const more = Math.max(0, rowsOf.length - 200) + call.left_out;
  return [
    element('h3', { text: 'Phases' }),
    element('table', {}, head, body),
    ...(more > 0 ? [element('p', { class: 'note', text: `${count(more)} more are left out.` })] : []),
  ];
}

/** Draws where each phase is within its call. */
function drawPlaces() {
  const call = model.calls.get(chosen);
  if (call === undefined) return;
  const [start, end] = [call.start, extent(call)];
  for (const canvas of byId('details-body').querySelectorAll('canvas')) {
    const width = canvas.clientWidth;
    if (width === 0) continue;
    const context = prepareCanvas(canvas, width, 12);
    const x = (time) => ((Number(time) - start) / Math.max(end - start, 1e-9)) * width;
    const { kind, from, to } = canvas.dataset;
    context.fillStyle = colors.line;
    context.fillRect(0, 11, width, 1);
    const left = Math.min(x(from), width - 1);
    paintPhase(context, kind, call.outcome, left, 0, Math.max(1, x(to) - x(from)), 11);
  }
}

function partial(call) {
  if (call.partial.length > 0) {
    const text = call.partial.join('\n');
    const title = ['completed', 'reported', 'running'].includes(call.outcome) ? 'Contents' : 'Partial result';
    return [element('h3', { text: title }),
      element('pre', { text: visibleLines(text), tabindex: '0', 'aria-label': title }),
      ...(call.partial_left_out
        ? [element('p', { class: 'note', text: 'There were more than the recorder keeps.' })] : [])];
  }
  if (model.contents || call.items === 0) return [];
  return [element('h3', { text: 'Contents' }), element('p', {
    class: 'note', text: 'Not recorded. The recorder keeps contents only with its option for them.',
  })];
}

function stack(call) {
  if (!Object.hasOwn(model.stacks, call.tool)) return [];
  const text = model.stacks[call.tool];
  return [element('h3', { text: 'Layers and limits' }),
    element('pre', { text: visibleLines(text), tabindex: '0', 'aria-label': 'Layers and limits' })];
}
