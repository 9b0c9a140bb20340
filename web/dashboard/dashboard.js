"use strict";

const EVERY = 5000;
const HOUR = 3600;

// In the order of a turn; `after` names the stages that it waits for. A session is mostly there
// before its turn needs it, so nothing waits for it here.
const TURN = [
  { stage: "queue_time", name: "Queue", after: [] },
  { stage: "session_time", name: "Session", after: ["queue_time"], beside: true },
  { stage: "download_time", name: "Download", after: ["queue_time"] },
  { stage: "convert_time", name: "Conversion", after: ["download_time"] },
  { stage: "stt_time", name: "Transcription", after: ["convert_time"] },
  { stage: "agentforce_time", name: "Agent", after: ["queue_time", "stt_time"] },
  { stage: "send_time", name: "Text to Twilio", after: ["agentforce_time"] },
  { stage: "tts_time", name: "Speech", after: ["agentforce_time"] },
];

const DELIVERIES = {
  messages_delivered: "Delivered",
  messages_read: "Read",
  messages_undelivered: "Undelivered",
  messages_failed: "Failed",
};

// The stages that have been timed, with the begin and length (seconds) each has in a typical turn.
function timeline(metrics) {
  const ends = {};
  const lanes = [];
  for (const { stage, name, after, beside } of TURN) {
    const begin = Math.max(0, ...after.map((other) => ends[other]));
    const { count, p50, p95 } = metrics[stage];
    ends[stage] = begin + p50;
    if (count) lanes.push({ name, begin, length: p50, p95, beside: Boolean(beside) });
  }
  return { lanes, total: Math.max(0, ...Object.values(ends)) };
}

// Hours of the last day, the one that runs last; `now` in seconds since 1970.
function lastDay(metrics, now) {
  const counted = new Map(metrics.hours.map((hour) => [hour.from, hour]));
  const running = Math.floor(now / HOUR) * HOUR;
  return Array.from({ length: 24 }, (_, index) => {
    const from = running - (23 - index) * HOUR;
    const { messages_received: received = 0, turns_failed: failed = 0 } = counted.get(from) || {};
    return { from, received, failed };
  });
}

function received(hours, since) {
  return hours.filter((hour) => hour.from >= since).reduce((sum, hour) => sum + hour.received, 0);
}

// What to tell the operator first: `good`, `warn` or `bad`, in a line, and what to do.
function verdict(metrics, health, now) {
  if (!health.database) {
    return ["bad", "The database does not answer",
      "Messages are refused until it does. See DATABASE_URL, or the disk of STATE_DIR, and the log."];
  }
  if (!health.healthy) {
    return ["bad", "Turns wait and no worker runs them",
      "On Heroku: heroku ps:scale worker=1. If there are workers, their log says why they stand still."];
  }
  const [before, running] = lastDay(metrics, now).slice(-2);
  const arrived = before.received + running.received;
  const failed = before.failed + running.failed;
  if (failed >= 3 && failed * 5 >= arrived) {
    return ["warn", "Many messages are not answered",
      `${failed} failed since ${clock(before.from)}, ${arrived} came in. See “Errors” below.`];
  }
  if (health.oldest_waiting >= 10) {
    return ["warn", "Answers are late",
      `The oldest message waits for ${seconds(health.oldest_waiting)}. See which stage below is slow, or add workers.`];
  }
  if (!metrics.counters.messages_received) {
    return ["good", "Ready", "No message has come yet. Write one from your phone."];
  }
  return ["good", "Messages get answered", ""];
}

function seconds(value) {
  if (value < 0.01) return `${(value * 1000).toFixed(1)}\u00a0ms`;
  if (value < 100) return `${value.toFixed(value < 10 ? 2 : 1)}\u00a0s`;
  return duration(value);
}

function duration(value) {
  const minutes = Math.floor(value / 60);
  if (minutes < 1) return "less than a minute";
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

function clock(time) {
  return new Date(time * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

function number(value) {
  return value.toLocaleString();
}

function midnight(now) {
  return new Date(now * 1000).setHours(0, 0, 0, 0) / 1000;
}

function watch() {
  const byId = (id) => document.getElementById(id);
  const advice = JSON.parse(byId("advice").textContent);

  // Screen readers hear a state when it changes, not with every look.
  const write = (target, text) => {
    const element = typeof target === "string" ? byId(target) : target;
    if (element && element.textContent !== text) element.textContent = text;
  };
  const show = (id, shown) => { byId(id).hidden = !shown; };
  const make = (name, text, className) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };

  function showVerdict(level, title, detail) {
    byId("verdict").dataset.level = level;
    write(document.querySelector("#verdict .title"), title);
    write(document.querySelector("#verdict .detail"), detail);
    document.title = `${title} – WhatsApp bridge`;
    byId("figures").classList.toggle("old", level === "unknown");
  }

  function showNow(metrics, health, now) {
    write("waiting", health.database ? number(health.waiting) : "?");
    write("oldest", health.waiting ? `the oldest for ${seconds(health.oldest_waiting)}` : "messages");
    write("running", health.database ? number(health.running) : "?");
    write("workers", health.database ? number(health.workers) : "?");
    write("today", number(received(lastDay(metrics, now), midnight(now))));
    write("today-note", metrics.since > midnight(now) ? `since the start at ${clock(metrics.since)}` : "since midnight");
  }

  function showAnswers(metrics) {
    const shown = [["text", "total_time", "median"], ["voice", "voice_reply_time", "after the text"]];
    for (const [id, stage, from] of shown) {
      const { count, p50, p95 } = metrics[stage];
      write(`${id}-p50`, count ? seconds(p50) : "–");
      write(`${id}-p95`, count ? `${from}, 95\u00a0% within ${seconds(p95)}` : "none yet");
    }
    const { turns_answered: answered, turns_failed: failed } = metrics.counters;
    write("answered", number(answered));
    write("failed", failed ? `${number(failed)} with an apology` : "none failed");
    byId("failed").classList.toggle("alarm", failed * 20 > answered);
  }

  function showHours(metrics, now) {
    const hours = lastDay(metrics, now);
    const most = Math.max(...hours.map((hour) => Math.max(hour.received, hour.failed)));
    show("hours", most > 0);
    show("hours-legend", most > 0);
    show("hours-empty", most === 0);
    byId("hours").replaceChildren(...hours.map((hour) => {
      const bar = make("div");
      bar.style.height = `${(100 * Math.max(hour.received, hour.failed)) / (most || 1)}%`;
      bar.title = `${clock(hour.from)}: ${number(hour.received)} messages, ${number(hour.failed)} failed`;
      const lost = bar.appendChild(make("div"));
      lost.style.height = `${(100 * hour.failed) / (Math.max(hour.received, hour.failed) || 1)}%`;
      return bar;
    }));
    const busiest = hours.reduce((best, hour) => (hour.received > best.received ? hour : best));
    write("hours-first", clock(hours[0].from));
    write("hours-most", `at most ${number(most)} an hour`);
    byId("hours").setAttribute("aria-label",
      `${number(received(hours, 0))} messages within the last day, most of them, ${number(busiest.received)}, from ${clock(busiest.from)}`);
  }

  function showTurn(metrics) {
    const { lanes, total } = timeline(metrics);
    const known = metrics.total_time.count > 0;
    show("turn", known);
    show("turn-empty", !known);
    byId("stages").replaceChildren(...lanes.map(({ name, begin, length, p95, beside }) => {
      const row = make("tr");
      row.appendChild(make("th", name)).scope = "row";
      const bar = make("div", undefined, beside ? "beside" : "");
      bar.style.left = `${(100 * begin) / (total || 1)}%`;
      bar.style.width = `${(100 * length) / (total || 1)}%`;
      row.appendChild(make("td", undefined, "lane")).appendChild(make("div", undefined, "track")).appendChild(bar);
      row.append(make("td", seconds(length)), make("td", seconds(p95)));
      return row;
    }));
  }

  function showList(id, counted, wording) {
    const entries = Object.entries(counted).sort((one, other) => other[1] - one[1]);
    show(id, entries.length > 0);
    byId(id).replaceChildren(...entries.map(([name, times]) => {
      const item = make("li");
      item.append(make("strong", name), make("b", `${number(times)} ×`), make("span", wording(name)));
      return item;
    }));
    return entries.length;
  }

  function showErrors(metrics) {
    const unknown = "unexpected; the log has the traceback";
    show("errors-empty", !showList("errors", metrics.errors, (name) => advice[name] || unknown));
  }

  function showDeliveries(metrics) {
    const known = Object.keys(DELIVERIES).filter((name) => name in metrics.counters);
    show("deliveries-section", known.length > 0);
    byId("deliveries").replaceChildren(...known.map((name) => {
      const tile = make("div");
      tile.append(make("dt", DELIVERIES[name]), make("dd", number(metrics.counters[name])));
      return tile;
    }));
    showList("delivery-errors", metrics.delivery_errors || {}, (code) => advice[code] || `see twilio.com/docs/api/errors/${code}`);
  }

  function showCounters(metrics) {
    byId("counters").replaceChildren(...Object.entries(metrics.counters).map(([name, count]) => {
      const row = make("tr");
      row.appendChild(make("th", name.replaceAll("_", " "))).scope = "row";
      row.append(make("td", number(count)));
      return row;
    }));
  }

  async function read(path) {
    const answer = await fetch(path, { signal: AbortSignal.timeout(EVERY - 500), cache: "no-store" });
    if (answer.status === 401) throw new Error("the password is not taken any more; reload the page");
    const json = (answer.headers.get("Content-Type") || "").startsWith("application/json");
    if (!json) throw new Error(`${path} answers ${answer.status}`);
    return answer.json();
  }

  let seen = null;

  async function look() {
    try {
      const [metrics, health] = await Promise.all([read("/metrics"), read("/health")]);
      const now = Date.now() / 1000;
      seen = now;
      showVerdict(...verdict(metrics, health, now));
      showNow(metrics, health, now);
      showAnswers(metrics);
      showHours(metrics, now);
      showTurn(metrics);
      showErrors(metrics);
      showDeliveries(metrics);
      showCounters(metrics);
      write("uptime", `Up for ${duration(metrics.uptime)}; counted since ${new Date(metrics.since * 1000).toLocaleString()}.`);
      write("updated", `as of ${new Date().toLocaleTimeString()}`);
    } catch (error) {
      const old = seen ? `What stands below is of ${clock(seen)}. ` : "";
      showVerdict("unknown", "The service does not answer", `${old}Trying again every 5 seconds: ${error.message}.`);
    }
  }

  function lookIfSeen() {
    if (!document.hidden) look();
  }

  setInterval(lookIfSeen, EVERY);
  document.addEventListener("visibilitychange", lookIfSeen);
  look();
}

if (typeof document !== "undefined") watch();
