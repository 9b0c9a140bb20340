// What the tabs of one browser share. The browser gives a lock back when its tab is closed.

// Chromium opens six connections to a server. These are for events, the others for all the rest.
const STREAMS = 4;
// A page that is loaded again waits so long for the end of the old one.
const RELOAD_MS = 1000;

// Does `act` while no other tab holds the lock. False if another tab holds it, or if the browser gives
// none, as Chromium at the moment when a page opens a window.
function withLock(name, act) {
  return navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
    if (lock) await act();
    return Boolean(lock);
  }).catch(() => false);
}

// Does `act`, which listens to events. False if as many tabs as possible listen already.
export async function withStream(act) {
  for (let stream = 1; stream <= STREAMS; stream += 1) {
    if (await withLock(`stream ${stream}`, act)) return true;
  }
  return false;
}

// Whether this tab now has the number, until it is closed. A copy of a tab brings along a number that
// the original still has.
export function claim(number) {
  return new Promise((done) => {
    const untilClosed = () => { done(true); return new Promise(() => {}); };
    navigator.locks.request(number, { signal: AbortSignal.timeout(RELOAD_MS) }, untilClosed).catch(() => done(false));
  });
}
