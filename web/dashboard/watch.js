"use strict";
// Asks the service again and again, as long as the page is seen.

const STATE_EVERY = 5;
const HISTORY_EVERY = 30;
const PATIENCE = 10;
const WINDOWS = ["hour", "day", "week"];

// Asks for JSON every `every` seconds; `path` returns where. A failure is told in half a sentence.
class Poll {
  constructor({ path, every, show, fail }) {
    Object.assign(this, { path, every, show, fail, asking: null, timer: 0 });
  }

  // Asks now; an answer that is still on its way counts no more.
  async ask() {
    this.stop();
    const asking = new AbortController();
    this.asking = asking;
    const tooLate = new Error(`no answer within ${PATIENCE} seconds`);
    const late = setTimeout(() => asking.abort(tooLate), 1000 * PATIENCE);
    const tell = await read(this.path(), asking.signal).then(
      (json) => () => this.show(json),
      (error) => () => this.fail(reason(error)),
    );
    clearTimeout(late);
    if (this.asking !== asking) return;
    this.timer = setTimeout(() => this.ask(), 1000 * this.every);
    tell();
  }

  stop() {
    clearTimeout(this.timer);
    if (this.asking) this.asking.abort();
    this.asking = null;
  }
}

async function read(path, signal) {
  // The address of the page may hold the password, which fetch refuses.
  const answer = await fetch(new URL(path, location.origin), { signal, cache: "no-store" });
  if (answer.status === 401) throw new Error("the password is not taken any more; reload the page");
  const isJson = (answer.headers.get("Content-Type") || "").startsWith("application/json");
  if (!answer.ok || !isJson) throw new Error(`it answers ${answer.status}`);
  return answer.json();
}

// A fetch without a connection fails with a TypeError, which each browser words differently.
function reason(error) {
  return error instanceof TypeError ? "no connection" : error.message;
}

function chosenWindow() {
  const chosen = location.hash.slice(1);
  return WINDOWS.includes(chosen) ? chosen : "day";
}

function markChosen() {
  for (const anchor of document.querySelectorAll("#windows a")) {
    if (anchor.hash === `#${chosenWindow()}`) anchor.setAttribute("aria-current", "true");
    else anchor.removeAttribute("aria-current");
  }
}

class Watch {
  constructor() {
    this.plots = makePlots();
    this.seenAt = null;
    this.historyAt = null;
    this.state = new Poll({
      path: () => "/dashboard/state", every: STATE_EVERY,
      show: (state) => this.showState(state), fail: (why) => this.loseState(why),
    });
    this.history = new Poll({
      path: () => `/dashboard/history?window=${chosenWindow()}`, every: HISTORY_EVERY,
      show: (history) => this.showHistory(history), fail: (why) => this.loseHistory(why),
    });
  }

  start() {
    document.addEventListener("visibilitychange", () => this.pauseIfHidden());
    addEventListener("hashchange", () => this.choose());
    setInterval(countAges, 1000);
    markChosen();
    this.pauseIfHidden();
  }

  pauseIfHidden() {
    for (const poll of [this.state, this.history]) {
      if (document.hidden) poll.stop();
      else poll.ask();
    }
  }

  choose() {
    markChosen();
    this.history.ask();
  }

  showState(state) {
    const wasLost = this.seenAt !== null && byId("now").classList.contains("old");
    this.seenAt = state.now;
    showState(state);
    byId("now").classList.remove("old");
    write(byId("updated"), `as of ${clock(state.now, true)}`);
    if (wasLost) this.history.ask();
  }

  loseState(why) {
    const old = this.seenAt === null ? "" : `What stands below is of ${moment(this.seenAt)}. `;
    showVerdict({
      level: "unknown", title: "The service does not answer", link: "",
      detail: `${old}Trying again every ${STATE_EVERY} seconds: ${why}.`,
    });
    byId("now").classList.toggle("old", this.seenAt !== null);
  }

  showHistory(history) {
    this.historyAt = serverClock.now();
    showHistory(history, this.plots);
    byId("history").classList.remove("old");
    write(byId("history-lost"), "");
  }

  loseHistory(why) {
    byId("history").classList.add("old");
    const known = this.historyAt === null ? "It cannot be shown" : `It is of ${moment(this.historyAt)}, not newer`;
    write(byId("history-lost"), `${known}: ${why}.`);
  }
}

new Watch().start();
