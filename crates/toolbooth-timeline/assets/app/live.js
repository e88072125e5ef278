// === Updates of a served page ===

/** Returns the address of a path of the service, below the page's own address. */
function beside(name) {
  const { pathname } = window.location;
  return (pathname.endsWith('/') ? pathname : `${pathname}/`) + name;
}

function connect() {
  model.live = true;
  byId('connection').hidden = false;
  byId('follow').hidden = false;
  showConnection('connecting');
  let source;
  let delay = 500;
  const open = () => {
    source = new EventSource(beside('events'));
    source.addEventListener('open', () => {
      delay = 500;
      showConnection('live');
    });
    source.addEventListener('reset', (event) => update(JSON.parse(event.data), false));
    source.addEventListener('message', (event) => {
      if (update(JSON.parse(event.data), true)) return;
      source.close();
      open();
    });
    source.addEventListener('error', () => {
      showConnection('disconnected');
      // The browser gives up after a response that is not a stream, such as a 503.
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(open, delay);
      delay = Math.min(delay * 2, 10_000);
    });
  };
  open();
  // Calls that run grow between two updates.
  setInterval(() => {
    if (model.all.some((call) => call.open) && !document.hidden && connected) tickLive();
  }, window.matchMedia('(prefers-reduced-motion: reduce)').matches ? 1000 : 250);
}

let connected = false;

function showConnection(state) {
  connected = state === 'live';
  // The clock of a page that is disconnected stops.
  if (!connected) model.now = now();
  model.readAt = performance.now();
  model.live = connected;
  const box = byId('connection');
  if (box.dataset.state === state) return;
  box.dataset.state = state;
  box.textContent = state;
}

function tickLive() {
  if (view.follow) followNow();
  changedView();
  drawTable();
}

let updatePending = false;
/** How long the last update took to draw, in milliseconds. */
let drawing = 0;

/** Takes an update. Returns whether it was complete. */
function update(feed, isIncrement) {
  // A call may have ended and been dropped between two updates only if all that had ended before
  // were dropped, too. The page would show it as running.
  const ended = model.all.filter((call) => call.end !== null).length;
  const gone = feed.dropped - model.dropped;
  if (isIncrement && gone > 0 && gone >= ended) return false;
  take(feed, isIncrement);
  // All calls come as several updates at first: they are drawn together.
  if (!updatePending) setTimeout(drawUpdates, Math.max(30, 3 * drawing));
  updatePending = true;
  return true;
}

function drawUpdates() {
  updatePending = false;
  const begun = performance.now();
  const isFirst = model.all.length === 0;
  arrange();
  changedCalls();
  if (isFirst) fit();
  else if (view.follow) followNow();
  drawing = performance.now() - begun;
}
