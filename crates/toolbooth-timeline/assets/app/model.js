// === The calls ===

const NO_TENANT = '(no tenant)';

const model = {
  calls: new Map(),
  /** All calls by start. */
  all: [],
  /** The calls that the filters select, by start. */
  shown: [],
  stacks: {},
  origin: 0,
  dropped: 0,
  unrecorded: 0,
  recorded: Infinity,
  contents: false,
  /** Whether a feed was read: a served page starts without one. */
  loaded: false,
  /** The time of the feed, and the page's clock when it came. */
  now: 0,
  readAt: 0,
  live: false,
};

const filters = { tool: '', tenant: '', search: '', hidden: new Set(), group: 'tool' };

/** Returns the time since the recorder's origin: when live, it moves on between two updates. */
function now() {
  return model.live ? model.now + (performance.now() - model.readAt) : model.now;
}

const callEnd = (call) => (call.end === null ? now() : call.end);
const phaseEnd = (phase) => (phase[2] === null ? now() : phase[2]);
/** The end of the call with its cleanup. */
const extent = (call) => (call.open ? Math.max(now(), call.last) : call.last);

function sum(call, ...kinds) {
  return call.phases.reduce(
    (total, phase) => (kinds.includes(phase[0]) ? total + phaseEnd(phase) - phase[1] : total), 0);
}

/** Takes the calls of a feed, or of an increment: new ones and changed ones. */
function take(feed, isIncrement = false) {
  if (!isIncrement) model.calls.clear();
  model.loaded ||= feed.calls !== undefined;
  model.origin = feed.origin_unix_ms ?? model.origin;
  model.stacks = feed.stacks ?? model.stacks;
  model.dropped = feed.dropped ?? model.dropped;
  model.unrecorded = feed.unrecorded ?? model.unrecorded;
  model.recorded = feed.recorded ?? Infinity;
  model.contents = feed.contents ?? model.contents;
  model.now = feed.now ?? model.now;
  model.readAt = performance.now();
  for (const call of feed.calls ?? []) model.calls.set(call.n, prepare(call));
}

/** Orders the calls that were taken. */
function arrange() {
  model.all = [...model.calls.values()].sort((a, b) => a.start - b.start || a.n - b.n);
  forget();
}

/** Drops the calls that ended first, as the recorder does. */
function forget() {
  const excess = model.all.length - model.recorded;
  if (!(excess > 0)) return;
  const ended = model.all.filter((call) => call.end !== null).sort((a, b) => a.end - b.end);
  for (const call of ended.slice(0, excess)) model.calls.delete(call.n);
  model.all = model.all.filter((call) => model.calls.has(call.n));
}

function prepare(call) {
  if (call.outcome === 'completed' && call.error_type) call.outcome = 'reported';
  if (!Object.hasOwn(OUTCOMES, call.outcome)) call.outcome = 'failed';
  // Idle phases, and queues of limits around a part of the tool, are within a run: they are drawn
  // over it.
  call.phases.sort((a, b) => (b[0] === 'run') - (a[0] === 'run') || a[1] - b[1]);
  call.toolName = visible(call.tool);
  call.tenantName = call.tenant === null || call.tenant === undefined ? NO_TENANT : visible(call.tenant);
  call.idName = visible(call.id);
  call.open = call.end === null || call.phases.some((phase) => phase[2] === null);
  call.last = call.phases.reduce(
    (last, phase) => Math.max(last, phase[2] ?? phase[1]), call.end ?? call.start);
  call.text = [call.tool, call.id, call.tenant, call.error_type, call.error]
    .filter((part) => typeof part === 'string').join('\n').toLowerCase();
  return call;
}

/** Applies the filters. */
function select() {
  const terms = filters.search.toLowerCase().split(/\s+/).filter(Boolean);
  model.shown = model.all.filter((call) =>
    !filters.hidden.has(call.outcome)
    && (filters.tool === '' || call.toolName === filters.tool)
    && (filters.tenant === '' || call.tenantName === filters.tenant)
    && terms.every((term) => call.text.includes(term)));
}

/** Returns the first index whose value is above the limit; values ascend. */
function firstAbove(length, value, limit) {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (value(middle) > limit) high = middle;
    else low = middle + 1;
  }
  return low;
}

// === Lanes ===

/** A queue of numbers, the least first. */
class Least {
  constructor(order) {
    this.heap = [];
    this.order = order;
  }

  get first() {
    return this.heap[0];
  }

  push(entry) {
    const { heap, order } = this;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (order(heap[parent], entry) <= 0) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = entry;
  }

  pop() {
    const { heap, order } = this;
    const first = heap[0];
    const last = heap.pop();
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && order(heap[child + 1], heap[child]) < 0) child += 1;
      if (order(last, heap[child]) <= 0) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

/** Puts each call into the first lane that is free at its start. */
function lanesOf(calls) {
  const lanes = [];
  const free = new Least((a, b) => a - b);
  const busy = new Least((a, b) => a.until - b.until);
  for (const call of calls) {
    while (busy.first !== undefined && busy.first.until <= call.start) free.push(busy.pop().lane);
    const lane = free.heap.length > 0 ? free.pop() : lanes.push([]) - 1;
    lanes[lane].push(call);
    // Two calls without a duration that start together need two lanes.
    const until = call.open ? Infinity : Math.max(call.last, call.start + 1e-3);
    busy.push({ until, lane });
  }
  return lanes;
}

/** The nearest rank: the least value that at least this share of the values does not exceed. */
function percentile(sorted, share) {
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

/** Groups the calls by tool or tenant, and each group in lanes. */
function groupsOf(calls) {
  const groups = new Map();
  for (const call of calls) {
    const name = filters.group === 'tenant' ? call.tenantName : call.toolName;
    let group = groups.get(name);
    if (group === undefined) groups.set(name, group = { name, calls: [] });
    group.calls.push(call);
  }
  const sorted = [...groups.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const group of sorted) {
    group.lanes = lanesOf(group.calls);
    const ended = group.calls.filter((call) => call.end !== null);
    const took = Float64Array.from(ended, (call) => call.end - call.start).sort();
    const bad = ended.filter((call) => call.outcome !== 'completed').length;
    group.title = [
      plural(group.calls.length, 'call'),
      ...(took.length > 0
        ? [`p50 ${duration(percentile(took, 0.5))}`, `p95 ${duration(percentile(took, 0.95))}`]
        : []),
      ...(bad > 0 ? [`${count(bad)} not completed`] : []),
    ].join(' · ');
  }
  return sorted;
}

// === In flight and queued ===

/** Returns the number of calls over time: at `times[i]` it becomes `values[i]`. */
function levelOf(calls, kinds) {
  const starts = [];
  const ends = [];
  for (const call of calls) {
    for (const phase of call.phases) {
      if (!kinds.includes(phase[0])) continue;
      starts.push(phase[1]);
      ends.push(phase[2] ?? Infinity);
    }
  }
  const up = Float64Array.from(starts).sort();
  const down = Float64Array.from(ends).sort();
  const times = new Float64Array(up.length + down.length);
  const values = new Float64Array(times.length);
  let most = 0;
  for (let i = 0, a = 0, b = 0; i < times.length; i += 1) {
    // A call that ends when another one starts leaves first.
    if (a < up.length && up[a] < down[b]) times[i] = up[a++];
    else times[i] = down[b++];
    values[i] = a - b;
    most = Math.max(most, a - b);
  }
  return { times, values, most };
}
