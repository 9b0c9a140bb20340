"use strict";
// What is so now: the verdict, providers, refused webhooks, errors, the checklist, the backlog.

// States of providers in words, with the icon of each.
const PROVIDER_STATES = {
  unused: ["off", "Not used lately"],
  working: ["good", "Working"],
  failing: ["warn", "Some calls fail"],
  refused: ["bad", "Refuses our credentials"],
  down: ["bad", "Down"],
};

const RESULT_ICONS = { ok: "good", warning: "warn", failed: "bad", skipped: "off" };
const RESULT_WORDS = { ok: "All right", warning: "Warning", failed: "Failed", skipped: "Not checked" };

// The shape tells the level too, for those who do not see the colour.
const SHAPES = {
  good: "<circle cx='8' cy='8' r='7' fill='%231f8a4c'/>",
  warn: "<path d='M8 1l7.5 14H.5z' fill='%23e09112'/>",
  bad: "<path d='M5 1h6l4 4v6l-4 4H5l-4-4V5z' fill='%23d3362b'/>",
  unknown: "<circle cx='8' cy='8' r='5.5' fill='none' stroke='%23808790' stroke-width='3'/>",
};

function favicon(level) {
  return `data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>${SHAPES[level]}</svg>`;
}

function showVerdict({ level, title, detail, link }) {
  const panel = byId("verdict");
  panel.dataset.level = level;
  setIcon(panel.querySelector("svg"), level);
  write(field(panel, "title"), title);
  write(field(panel, "detail"), detail);
  setLink(field(panel, "link"), link, title);
  document.title = `${title} – WhatsApp bridge`;
  setAttribute(byId("favicon"), "href", favicon(level));
}

function showState(state) {
  serverClock.set(state.now);
  showVerdict(state.verdict);
  showNow(state);
  fill(byId("providers"), "provider", state.providers, ({ name }) => name, showProvider);
  showRefusedWebhooks(state.refused_webhooks);
  showErrors(state);
  showChecklist(state.checklist);
  showRelease(state);
}

function showNow({ last_message_at: message, last_answer_at: answer, health }) {
  const known = (value) => (health.database ? number(value) : "?");
  setAge(byId("last-message"), message, "none yet");
  setAge(byId("last-answer"), answer, "none yet");
  write(byId("waiting"), known(health.waiting));
  write(byId("oldest"), health.waiting ? `the oldest for ${seconds(health.oldest_waiting)}` : "messages");
  write(byId("running"), known(health.running));
  write(byId("workers"), known(health.workers));
}

function showProvider(item, provider) {
  const [icon, words] = PROVIDER_STATES[provider.state];
  item.dataset.level = icon;
  setIcon(item.querySelector("svg"), icon);
  const isWell = provider.state === "unused" || provider.state === "working";
  writeFields(item, { title: provider.title, state: words, error: provider.error, advice: sentence(provider.advice) });
  setLink(field(item, "link"), isWell ? "" : provider.link, provider.title);
  setAge(field(item, "success"), provider.last_success_at);
  setAge(field(item, "failure"), provider.last_failure_at);
  show(field(item, "success").parentNode, provider.state !== "unused");
  show(field(item, "failure").parentNode, provider.last_failure_at !== null);
}

function showRefusedWebhooks({ count, last_at: last, is_over: isOver, expected_url: expected }) {
  const section = byId("refused");
  show(section, count > 0 && !isOver);
  write(field(section, "count"), plural(count, "webhook was refused", "webhooks were refused"));
  setAge(field(section, "last"), last);
  write(field(section, "expected"), expected);
}

function showErrors({ errors, delivery_errors: undelivered, verdict }) {
  const found = errors.length + undelivered.length;
  fill(byId("errors"), "error", errors, ({ name }) => name, showError);
  fill(byId("undelivered"), "error", undelivered, ({ code }) => code, showError);
  show(byId("errors"), errors.length);
  show(byId("undelivered"), undelivered.length);
  show(byId("no-errors"), !found);
  byId("errors-title").classList.toggle("unseen", !found);
  // What is wrong otherwise has been said above.
  show(byId("errors").parentNode, found || verdict.level === "good");
}

function showError(item, { name, code, count, advice, link, last_at: last }) {
  const title = name || `Not delivered: ${code}`;
  writeFields(item, { name: title, count: `${number(count)} ×`, advice: sentence(advice) });
  setLink(field(item, "link"), link, title);
  setAge(field(item, "last"), last);
}

function showChecklist({ checked_at: checked, results, firsts }) {
  const left = firsts.filter(({ at }) => at === null).length;
  const wrong = results.filter(({ state }) => state === "failed" || state === "warning");
  showSummary(checked, results, left, wrong);
  fill(byId("results"), "result", sorted(results), ({ name, finding }) => `${name}: ${finding}`, showResult);
  fill(byId("firsts"), "first", firsts, ({ title }) => title, showFirst);
  show(byId("results").parentNode, results.length);
  unfold(left > 0 || wrong.some(({ state }) => state === "failed"));
}

// What is wrong first.
function sorted(results) {
  const order = ["failed", "warning", "skipped", "ok"];
  return [...results].sort((one, other) => order.indexOf(one.state) - order.indexOf(other.state));
}

function showSummary(checked, results, left, wrong) {
  const summary = byId("checklist").querySelector("summary");
  const failed = wrong.filter(({ state }) => state === "failed").length;
  setIcon(summary.querySelector("svg"), failed ? "bad" : wrong.length ? "warn" : left ? "off" : "good");
  const firsts = left ? `${plural(left, "step has", "steps have")} not worked yet` : "everything has worked once";
  const checks = wrong.length
    ? `${number(failed)} failed and ${plural(wrong.length - failed, "warning", "warnings")}`
    : `${plural(results.length, "check", "checks")} without a complaint`;
  write(field(summary, "words"), results.length ? `${firsts}; ${checks}` : firsts);
  setAge(field(summary, "checked"), checked, "");
  show(field(summary, "checked").parentNode, checked !== null);
}

// Open or closed as the person left it, until what it says has changed.
function unfold(open) {
  const details = byId("checklist");
  if (details.dataset.open === String(open)) return;
  details.dataset.open = open;
  details.open = open;
}

function showResult(item, { state, title, finding, hint }) {
  item.dataset.level = RESULT_ICONS[state];
  setIcon(item.querySelector("svg"), RESULT_ICONS[state]);
  writeFields(item, { state: `${RESULT_WORDS[state]}:`, title, finding, hint });
}

function showFirst(item, { title, at }) {
  const icon = at === null ? "off" : "good";
  item.dataset.level = icon;
  setIcon(item.querySelector("svg"), icon);
  writeFields(item, { title });
  setAge(field(item, "at"), at, "not yet");
}

function showRelease({ release, uptime }) {
  write(byId("release"), release ? `Release ${release}.` : "");
  write(byId("uptime"), `Up for ${duration(uptime)}.`);
  show(byId("reload"), release !== byId("release").dataset.page);
}
