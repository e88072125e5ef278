// === The table: only the rows in view are in the document ===

const ROW = 22;
const HEAD = 26;
const COLUMNS = [
  { key: 'start', title: 'Start', number: true, value: (call) => call.start, text: (call) => `${(call.start / 1000).toFixed(3)}` },
  { key: 'tool', title: 'Tool', value: (call) => call.toolName, text: (call) => call.toolName },
  { key: 'id', title: 'Call', value: (call) => call.n, text: (call) => call.idName },
  { key: 'tenant', title: 'Tenant', value: (call) => call.tenantName, text: (call) => (call.tenantName === NO_TENANT ? '–' : call.tenantName) },
  { key: 'outcome', title: 'Outcome', value: (call) => OUTCOMES[call.outcome].rank, text: (call) => OUTCOMES[call.outcome].label },
  { key: 'queued', title: 'Queued', number: true, value: (call) => sum(call, 'queue'), text: (call) => { const took = sum(call, 'queue'); return took > 0 ? duration(took) : '–'; } },
  { key: 'took', title: 'Took', number: true, value: (call) => callEnd(call) - call.start, text: (call) => duration(callEnd(call) - call.start) },
  { key: 'items', title: 'Items', number: true, value: (call) => call.items, text: (call) => (call.items > 0 ? count(call.items) : '–') },
];
const order = { key: 'start', descending: false };
let sorted = [];
/** The number of the call whose row has the focus or the details. */
let active = null;
/** The number of the call whose details are open. */
let chosen = null;
const rows = new Map();

function buildHead() {
  COLUMNS.forEach((column, i) => {
    const button = element('button', { type: 'button', tabindex: '-1' },
      element('span', { text: column.title }), element('span', { class: 'arrow', 'aria-hidden': 'true' }));
    const cell = element('div', {
      role: 'columnheader', class: column.number ? 'number' : null, 'aria-colindex': i + 1,
    }, button);
    button.tabIndex = 0;
    button.addEventListener('click', () => {
      order.descending = order.key === column.key && !order.descending;
      order.key = column.key;
      sortRows();
      drawTable();
    });
    byId('head').append(cell);
  });
}

function sortRows() {
  const { value } = COLUMNS.find((column) => column.key === order.key);
  const sign = order.descending ? -1 : 1;
  const keyed = model.shown.map((call) => [value(call), call]);
  keyed.sort(([a, x], [b, y]) => (a < b ? -sign : a > b ? sign : x.n - y.n));
  sorted = keyed.map(([, call]) => call);
  [...byId('head').children].forEach((cell, i) => {
    const by = COLUMNS[i].key === order.key;
    cell.setAttribute('aria-sort', !by ? 'none' : order.descending ? 'descending' : 'ascending');
    cell.querySelector('.arrow').textContent = !by ? '' : order.descending ? '▾' : '▴';
  });
  byId('grid').setAttribute('aria-rowcount', sorted.length + 1);
  byId('rows-height').style.height = `${sorted.length * ROW}px`;
  if (active === null || !sorted.some((call) => call.n === active)) active = sorted[0]?.n ?? null;
}

/** Puts the rows in view into the document, and the active one, which may have the focus. */
function drawTable() {
  const box = byId('rows');
  const from = Math.max(0, Math.floor(box.scrollTop / ROW) - 4);
  const to = Math.min(sorted.length, Math.ceil((box.scrollTop + box.clientHeight - HEAD) / ROW) + 4);
  const wanted = new Map();
  for (let i = from; i < to; i += 1) wanted.set(sorted[i].n, i);
  if (active !== null && !wanted.has(active)) {
    wanted.set(active, sorted.findIndex((call) => call.n === active));
  }
  const hadFocus = document.activeElement?.closest('.row') !== null && document.activeElement !== null;
  for (const [n, row] of rows) {
    if (wanted.has(n)) continue;
    row.remove();
    rows.delete(n);
  }
  for (const [n, i] of wanted) {
    let row = rows.get(n);
    if (row === undefined) {
      rows.set(n, row = buildRow(n));
      byId('rows-height').append(row);
    }
    fillRow(row, sorted[i], i);
  }
  if (hadFocus && active !== null) rows.get(active)?.focus({ preventScroll: true });
}

function buildRow(n) {
  const row = element('div', { class: 'row', role: 'row' });
  COLUMNS.forEach((column, i) => row.append(element('span', {
    role: 'gridcell', 'aria-colindex': i + 1,
    class: column.key === 'outcome' ? 'outcome' : column.number ? 'number' : null,
  })));
  row.addEventListener('click', () => {
    active = n;
    row.focus({ preventScroll: true });
    choose(n);
  });
  return row;
}

function fillRow(row, call, i) {
  row.style.transform = `translateY(${i * ROW}px)`;
  row.tabIndex = call.n === active ? 0 : -1;
  row.setAttribute('aria-rowindex', i + 2);
  row.setAttribute('aria-selected', String(call.n === chosen));
  COLUMNS.forEach((column, at) => {
    const cell = row.children[at];
    const text = column.text(call);
    if (cell.textContent === text && (column.key !== 'outcome' || cell.dataset.outcome === call.outcome)) return;
    if (column.key === 'outcome') {
      cell.replaceChildren(icon(call.outcome), element('span', { text }));
      cell.dataset.outcome = call.outcome;
    } else {
      cell.textContent = text;
      cell.classList.toggle('muted', text === '–');
      if (!column.number) cell.title = text;
    }
  });
}

/** Makes a row the active one, and gives it the focus. */
function activate(i, focus = true) {
  if (sorted.length === 0) return;
  const at = Math.min(Math.max(i, 0), sorted.length - 1);
  active = sorted[at].n;
  const box = byId('rows');
  const top = at * ROW;
  if (top < box.scrollTop) box.scrollTop = top;
  const inView = box.clientHeight - HEAD;
  if (top + ROW > box.scrollTop + inView) box.scrollTop = top + ROW - inView;
  drawTable();
  if (focus) rows.get(active)?.focus({ preventScroll: true });
}

function onTableKey(event) {
  if (event.target.closest('.row') === null || event.ctrlKey || event.metaKey || event.altKey) return;
  const at = sorted.findIndex((call) => call.n === active);
  const page = Math.max(1, Math.floor((byId('rows').clientHeight - HEAD) / ROW) - 1);
  const to = {
    ArrowDown: at + 1,
    ArrowUp: at - 1,
    PageDown: at + page,
    PageUp: at - page,
    Home: 0,
    End: sorted.length - 1,
  }[event.key];
  if (to !== undefined) {
    activate(to);
    if (chosen !== null) choose(active, { focus: false });
  } else if (event.key === 'Enter' || event.key === ' ') {
    choose(active, { focus: event.key === 'Enter' });
  } else return;
  event.preventDefault();
  event.stopPropagation();
}
