// === The page ===

let framePending = false;
let theme = 'auto';

/** Draws the charts with the next frame. */
function changedView() {
  if (framePending) return;
  framePending = true;
  requestAnimationFrame(() => {
    framePending = false;
    drawStrip();
    drawLanes();
    byId('range').textContent = `${moment(view.start, (view.end - view.start) / 100)} – `
      + `${moment(view.end, (view.end - view.start) / 100)} (${duration(view.end - view.start)})`;
    byId('follow').setAttribute('aria-pressed', String(view.follow));
  });
}

/** Applies the filters, and draws everything. */
function changedCalls() {
  select();
  readChoices();
  readGroups();
  readLevels();
  sortRows();
  drawTable();
  if (chosen !== null) drawDetails();
  const all = model.all.length;
  const shown = model.shown.length;
  byId('summary').textContent = `${plural(all, 'call')}`
    + (model.dropped > 0 ? `, ${count(model.dropped)} older ones dropped` : '')
    + (model.unrecorded > 0 ? `, ${count(model.unrecorded)} not recorded` : '');
  byId('count').textContent = shown === all ? plural(all, 'call') : `${count(shown)} of ${plural(all, 'call')}`;
  byId('empty').hidden = shown > 0;
  byId('empty').textContent = !model.loaded ? 'Loading the calls.'
    : all === 0 ? 'No calls yet.' : 'No call matches the filters.';
  changedView();
}

// === Filters ===

function readChoices() {
  fillChoices(byId('by-tool'), 'all tools', model.all.map((call) => call.toolName), filters.tool);
  fillChoices(byId('by-tenant'), 'all tenants', model.all.map((call) => call.tenantName), filters.tenant);
  for (const name of OUTCOME_NAMES) {
    const calls = model.all.reduce((total, call) => total + (call.outcome === name), 0);
    const button = byId(`outcome-${name}`);
    button.lastElementChild.textContent = `${OUTCOMES[name].label} ${count(calls)}`;
    button.hidden = calls === 0 && !filters.hidden.has(name);
  }
}

function fillChoices(box, all, names, current) {
  const choices = [...new Set(names)].sort();
  if (current !== '' && !choices.includes(current)) choices.push(current);
  if (box.childElementCount === choices.length + 1
    && choices.every((name, i) => box.children[i + 1].value === name)) return;
  box.replaceChildren(element('option', { value: '', text: all }),
    ...choices.map((name) => element('option', { value: name, text: name })));
  box.value = current;
}

function buildFilters() {
  for (const name of OUTCOME_NAMES) {
    const button = element('button', {
      type: 'button', id: `outcome-${name}`, 'aria-pressed': 'true',
    }, icon(name), element('span'));
    button.addEventListener('click', () => {
      if (!filters.hidden.delete(name)) filters.hidden.add(name);
      button.setAttribute('aria-pressed', String(!filters.hidden.has(name)));
      changedCalls();
    });
    byId('outcomes').append(button);
  }
  const bind = (id, name, event) => byId(id).addEventListener(event, () => {
    filters[name] = byId(id).value;
    changedCalls();
  });
  bind('group', 'group', 'change');
  bind('by-tool', 'tool', 'change');
  bind('by-tenant', 'tenant', 'change');
  bind('search', 'search', 'input');
  byId('filters').addEventListener('submit', (event) => event.preventDefault());
  byId('filters').addEventListener('reset', () => {
    Object.assign(filters, { tool: '', tenant: '', search: '', group: 'tool' });
    filters.hidden.clear();
    for (const button of byId('outcomes').children) button.setAttribute('aria-pressed', 'true');
    changedCalls();
    fit();
  });
}

// === Theme, legend, width of the table ===

const dark = window.matchMedia('(prefers-color-scheme: dark)');

function applyTheme() {
  const used = theme === 'auto' ? (dark.matches ? 'dark' : 'light') : theme;
  document.documentElement.dataset.theme = used;
  byId('theme').textContent = `Theme: ${theme}`;
  readColors();
  drawLegend();
  if (chosen !== null) drawPlaces();
  changedView();
}

/** The choice is kept where the browser permits it, which it may not for files. */
function storedTheme(value) {
  try {
    if (value !== undefined) window.localStorage.setItem('toolbooth-theme', value);
    return window.localStorage.getItem('toolbooth-theme');
  } catch {
    return null;
  }
}

function drawLegend() {
  byId('legend').replaceChildren(...Object.entries(PHASES).map(([kind, label]) => {
    const canvas = element('canvas', { 'aria-hidden': 'true' });
    paintPhase(prepareCanvas(canvas, 20, 14), kind, 'completed', 0, 1, 20, 12);
    return element('li', {}, canvas, element('span', { text: label }));
  }));
  for (const [kind, label] of [['deadline', 'deadline'], ['expired', 'expired'], ['first_item', 'first item']]) {
    const canvas = element('canvas', { 'aria-hidden': 'true' });
    const context = prepareCanvas(canvas, 20, 14);
    if (kind !== 'deadline') paintPhase(context, 'run', 'completed', 0, 1, kind === 'expired' ? 12 : 20, 12);
    paintMark(context, kind, kind === 'expired' ? 12 : 10, 1, 12);
    byId('legend').append(element('li', {}, canvas, element('span', { text: label })));
  }
}

function setSide(share) {
  const percent = Math.min(80, Math.max(20, share));
  byId('main').style.setProperty('--side', `${percent}%`);
  byId('split').setAttribute('aria-valuenow', String(Math.round(percent)));
}

function listenToSplit() {
  const split = byId('split');
  split.addEventListener('pointerdown', (event) => split.setPointerCapture(event.pointerId));
  split.addEventListener('pointermove', (event) => {
    if (!split.hasPointerCapture(event.pointerId)) return;
    const box = byId('main').getBoundingClientRect();
    setSide(((box.right - event.clientX) / box.width) * 100);
  });
  split.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: 2, ArrowRight: -2 }[event.key];
    if (by === undefined) return;
    setSide(Number(split.getAttribute('aria-valuenow')) + by);
    event.preventDefault();
  });
}

function onPageKey(event) {
  if (event.key === 'Escape' && !byId('help').open && chosen !== null) {
    closeDetails();
    event.preventDefault();
  } else if (event.key === '/' && !event.target.closest('input, select, dialog')) {
    byId('search').focus();
    event.preventDefault();
  }
}

function start() {
  theme = storedTheme() ?? 'auto';
  if (!['auto', 'light', 'dark'].includes(theme)) theme = 'auto';
  buildFilters();
  buildHead();
  applyTheme();
  listenToChart();
  listenToSplit();
  dark.addEventListener('change', applyTheme);
  byId('theme').addEventListener('click', () => {
    theme = { auto: 'light', light: 'dark', dark: 'auto' }[theme];
    storedTheme(theme);
    applyTheme();
  });
  byId('zoom-in').addEventListener('click', () => zoom(0.5));
  byId('zoom-out').addEventListener('click', () => zoom(2));
  byId('zoom-fit').addEventListener('click', fit);
  byId('follow').addEventListener('click', () => {
    view.follow = !view.follow;
    if (view.follow) followNow();
    changedView();
  });
  byId('close').addEventListener('click', closeDetails);
  byId('keys').addEventListener('click', () => byId('help').showModal());
  byId('rows').addEventListener('scroll', drawTable);
  byId('grid').addEventListener('keydown', onTableKey);
  document.addEventListener('keydown', onPageKey);
  new ResizeObserver(() => {
    readGroups();
    drawTable();
    drawPlaces();
    changedView();
  }).observe(byId('lanes'));
  new ResizeObserver(drawTable).observe(byId('rows'));

  take(JSON.parse(byId('feed').textContent));
  arrange();
  changedCalls();
  fit();
  if (document.documentElement.hasAttribute('data-live')) connect();
  // For tests of the page: what the last frame drew.
  window.toolboothTimeline = Object.freeze({
    stats: () => ({ ...stats }),
    view: () => ({ ...view }),
    calls: () => ({ all: model.all.length, shown: model.shown.length, rows: rows.size }),
  });
}

start();
