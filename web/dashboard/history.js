"use strict";
// What has been in the last hour, day or week.

const DELIVERIES = { delivered: "Delivered", read: "Read", undelivered: "Not delivered", failed: "Refused" };
const LANGUAGES = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });

const PERCENTILES = { p50: "Median", p95: "95\u00a0% within", p99: "99\u00a0% within" };

// Lines that have gaps where nothing was measured; `latency` is a field of the points.
function percentiles(latency) {
  return Object.entries(PERCENTILES).map(([key, name]) => ({
    name, className: key, kind: "line",
    value: (point) => (point[latency].count ? point[latency][key] : null),
  }));
}

// By the id of the figure: what each plot shows.
const PLOTS = {
  "messages-plot": {
    whole: true,
    series: [
      { name: "Texts", className: "texts", kind: "bar", value: (point) => point.texts },
      { name: "Voice notes", className: "voice", kind: "bar", value: (point) => point.voice_notes },
      { name: "Commands", className: "commands", kind: "bar", value: (point) => point.commands },
      { name: "Failed", className: "failed", kind: "below", value: (point) => point.failed },
    ],
  },
  "text-plot": { series: percentiles("text_latency"), text: seconds, tick: secondsTick },
  "voice-plot": { series: percentiles("voice_latency"), text: seconds, tick: secondsTick },
  "queue-plot": {
    whole: true,
    series: [
      { name: "Running", className: "running", kind: "bar", value: (point) => point.running },
      { name: "Waiting", className: "waiting", kind: "bar", value: (point) => point.waiting },
      { name: "Workers", className: "workers", kind: "line", value: (point) => point.workers || null },
    ],
  },
};

function makePlots() {
  const cursor = new Cursor();
  return Object.entries(PLOTS).map(([id, options]) => new Plot(byId(id), { ...options, cursor }));
}

function showHistory(history, plots) {
  const { total, costs } = history;
  show(byId("measured"), isMeasured(total));
  show(byId("unmeasured"), !isMeasured(total));
  write(byId("unmeasured"), `No message in the last ${history.window}.`);
  for (const plot of plots) plot.update(history);
  showTotals(total, costs);
  showTurn(total.stages);
  showFailures(total);
  showDeliveries(total);
  showShares("languages", total.languages.map(({ language, count }) => [languageName(language), count]));
  showCaches(total.caches);
  showShares("limits", total.limits.map(({ title, count }) => [title, count]));
  showCosts(costs);
}

function isMeasured({ messages, answered, failed, failures, deliveries, limits }) {
  const counts = [messages, answered, failed, failures.length, limits.length, ...Object.values(deliveries)];
  return counts.some((count) => count > 0);
}

function languageName(code) {
  if (code === "unknown") return "Not known";
  try {
    return LANGUAGES.of(code);
  } catch (error) {
    return code;
  }
}

function latencyNote({ count, p50, p95 }) {
  return count ? `median ${seconds(p50)}\n95${NARROW}% within ${seconds(p95)}` : "none answered";
}

function showTotals(total, costs) {
  write(byId("texts"), number(total.texts));
  write(byId("texts-note"), latencyNote(total.text_latency));
  write(byId("voice-notes"), number(total.voice_notes));
  write(byId("voice-note"), latencyNote(total.voice_latency));
  write(byId("commands"), number(total.commands));
  write(byId("answered"), number(total.answered));
  write(byId("failed"), total.failed ? `${number(total.failed)} failed` : "none failed");
  byId("failed").classList.toggle("alarm", 20 * total.failed > total.answered);
  showSaved(total.caches);
  showConversations(costs);
}

// Of all characters that were spoken, those that the cache had already.
function showSaved({ speech_characters_saved: saved, speech_characters: synthesised }) {
  const spoken = saved + synthesised;
  write(byId("saved"), spoken ? percent(saved / spoken) : "–");
  write(byId("saved-note"), spoken ? `${number(saved)} of ${number(spoken)} characters` : "nothing spoken");
}

function showConversations({ conversations, per_conversation: each, currency }) {
  write(byId("conversations"), number(conversations));
  write(byId("conversations-note"), each === null ? "with the agent" : `${money(each, currency)} each`);
}

function showTurn(stages) {
  const known = stages.filter(({ count }) => count);
  show(byId("turn"), known.length);
  show(byId("no-turn"), !known.length);
  const end = Math.max(0, ...known.map(({ begin, p50 }) => begin + p50));
  const ticks = roundTicks(end, byId("turn-scale").clientWidth < 200 ? 2 : 5);
  const most = ticks.at(-1);
  byId("turn-scale").replaceChildren(...ticks.slice(0, -1).map((tick) => scaleTick(tick, ticks[1], most)));
  fill(byId("stages"), "stage", known, ({ name }) => name, (row, stage) => showStage(row, stage, most));
}

function scaleTick(tick, step, most) {
  const label = make("span", {}, secondsTick(tick, step));
  label.style.left = `${(100 * tick) / most}%`;
  return label;
}

function showStage(row, { title, begin, p50, p95, p99, share, beside }, most) {
  const bar = row.querySelector(".track > div");
  bar.classList.toggle("beside", beside);
  bar.style.left = `${(100 * begin) / most}%`;
  bar.style.width = `${(100 * p50) / most}%`;
  writeFields(row, { title, share: beside ? "–" : percent(share) });
  writeFields(row, { p50: seconds(p50), p95: seconds(p95), p99: seconds(p99) });
}

function showFailures({ failures, limits }) {
  fill(byId("failures"), "error", failures, ({ name }) => name, showPastError);
  show(byId("failures"), failures.length);
  show(byId("no-failures"), !failures.length);
  show(byId("no-limits"), !limits.length);
}

// The history does not say when an error happened last.
function showPastError(item, error) {
  showError(item, { ...error, last_at: null });
  show(field(item, "last").parentNode, false);
}

function showDeliveries({ deliveries, delivery_errors: undelivered }) {
  const known = Object.entries(DELIVERIES).filter(([name]) => deliveries[name]);
  showShares("deliveries", known.map(([name, title]) => [title, deliveries[name]]));
  fill(byId("delivery-errors"), "error", undelivered, ({ code }) => code, showPastError);
  show(byId("delivery-errors"), undelivered.length);
}

// A list of names with a bar each, the longest for the largest number.
function showShares(id, counted) {
  const most = Math.max(1, ...counted.map(([, count]) => count));
  fill(byId(id), "share", counted, ([name]) => name, (item, [name, count]) => {
    writeFields(item, { name, count: number(count) });
    item.querySelector(".track > div").style.width = `${(100 * count) / most}%`;
  });
  show(byId(id), counted.length);
  show(byId(`no-${id}`), !counted.length);
}

function showCaches(caches) {
  const kinds = [["Spoken sentences", "speech"], ["Answers", "answer"]];
  const used = kinds
    .map(([title, kind]) => [title, caches[`${kind}_hits`], caches[`${kind}_misses`]])
    .filter(([, hits, misses]) => hits + misses);
  fill(byId("caches"), "share", used, ([title]) => title, (item, [title, hits, misses]) => {
    writeFields(item, { name: title, count: `${number(hits)} of ${number(hits + misses)}` });
    item.querySelector(".track > div").style.width = `${(100 * hits) / (hits + misses)}%`;
  });
  show(byId("caches"), used.length);
  show(byId("no-caches"), !used.length);
}

function showCosts({ currency, lines: all, total, per_conversation: each, conversations }) {
  const lines = all.filter(({ amount }) => amount);
  const priced = lines.some(({ cost }) => cost !== null);
  const inMoney = (amount) => (amount === null ? "–" : money(amount, currency));
  fill(byId("costs"), "cost", lines, ({ title }) => title, (row, { title, amount, unit, cost }) => {
    writeFields(row, { title, amount: `${number(amount)} ${unit}`, cost: inMoney(cost) });
    show(field(row, "cost"), priced);
  });
  show(byId("costs").parentNode, lines.length);
  show(byId("no-costs"), !lines.length);
  show(byId("cost-head"), priced);
  show(byId("unpriced"), lines.length && !priced);
  show(byId("cost-sums"), priced);
  write(byId("cost-total"), total === null ? "" : money(total, currency));
  write(byId("cost-each"), each === null ? "" : money(each, currency));
  write(byId("cost-conversations"), `Each of ${plural(conversations, "conversation", "conversations")}`);
}
