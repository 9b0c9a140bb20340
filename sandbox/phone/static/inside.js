// Beside the phone: the stages of the turn, the calls to the providers, and the log.

import { $, el, reconcile, setText } from "./dom.js";
import { seconds, stageName, t } from "./strings.js";

const PROVIDERS = { twilio: "Twilio", agentforce: "Agentforce", elevenlabs: "ElevenLabs" };

export function showTurn(turn) {
  $("turn").hidden = !turn?.stages.length;
  setText($("turn-summary"), turn ? summary(turn) : t("turnEmpty"));
  $("turn-summary").dataset.running = Boolean(turn?.running);
  $("shared").hidden = !turn?.shared;
  if (turn) {
    const end = Math.max(0.001, ...turn.stages.map((stage) => stage.start + stage.seconds));
    showPath(turn, end);
    showStages(turn.stages, end);
  }
  showCalls(turn?.calls ?? []);
  showLines($("lines"), turn?.log ?? []);
}

function summary(turn) {
  const parts = [];
  if (turn.textAfter !== null) parts.push(t("textAfter", { text: seconds(turn.textAfter) }));
  if (turn.providers !== null) parts.push(t("split", shares(turn)));
  if (turn.voiceAfter !== null) parts.push(t("voiceAfter", { voice: seconds(turn.voiceAfter) }));
  if (turn.running) parts.push(t("running"));
  return parts.join(" ") || t("ended");
}

function shares(turn) {
  return { providers: seconds(turn.providers), own: seconds(Math.max(0, turn.textAfter - turn.providers)) };
}

// One lane until the text answer: where a provider was at work, and where nobody but the service.
function showPath(turn, end) {
  const until = turn.textAfter ?? end;
  const spans = [];
  let reached = 0;
  const calls = turn.stages.filter((stage) => stage.kind === "provider").flatMap((stage) => stage.calls);
  for (const [start, ended] of calls.sort(([one], [other]) => one - other)) {
    const stop = Math.min(ended, until);
    if (stop <= reached) continue;
    spans.push([Math.max(start, reached), stop]);
    reached = stop;
  }
  const bars = spans.map(([from, to]) => bar("provider", from, to - from, end));
  $("path").replaceChildren(bar("own", 0, until, end), ...bars);
  if (turn.providers !== null) $("path").setAttribute("aria-label", t("pathLabel", shares(turn)));
  else $("path").setAttribute("aria-label", t("running"));
}

function bar(kind, start, took, end) {
  const node = el("div", { class: kind });
  node.style.insetInlineStart = `${(start / end) * 100}%`;
  node.style.inlineSize = `${(took / end) * 100}%`;
  return node;
}

function showStages(stages, end) {
  reconcile($("stages"), stages, {
    key: (stage) => stage.name.replace(/,.*/, ""),
    make: () => el("tr", {}, el("th", { scope: "row" }), el("td", { class: "lane" }, el("span", { class: "unseen" }), el("div", { class: "track" })), el("td", { class: "took" })),
    update: (row, stage) => {
      const [name, lane, took] = row.children;
      setText(name, stageName(stage.name));
      setText(took, seconds(stage.seconds));
      setText(lane.firstChild, t("from", { start: seconds(stage.start) }));
      const spans = stage.calls.length ? stage.calls : [[stage.start, stage.start + stage.seconds]];
      lane.lastChild.replaceChildren(...spans.map(([from, to]) => bar(stage.kind, from, to - from, end)));
    },
  });
}

function showCalls(calls) {
  const items = calls.length ? calls : [{ id: "none" }];
  reconcile($("calls"), items, {
    key: (call) => call.id,
    make: (call) => (call.id === "none" ? el("p", { class: "note", dir: "auto" }) : callNode(call)),
    update: (node, call) => (call.id === "none" ? setText(node, t("noCalls")) : updateCall(node, call)),
  });
}

function callNode(call) {
  const summary = el("summary", {},
    el("span", { class: "at", textContent: `+${call.at.toFixed(2)} s` }),
    el("span", { class: `badge ${call.service}`, textContent: PROVIDERS[call.service] ?? call.service }),
    el("span", { class: "rule", textContent: call.rule }),
    el("span", { class: "result" }));
  const half = () => el("div", {}, el("p", { class: "half", dir: "auto" }), el("pre"));
  return el("details", {}, summary, half(), half());
}

function updateCall(node, call) {
  const [summary, sent, received] = node.children;
  const result = summary.lastChild;
  setText(result, call.status === null ? "…" : `${call.status} · ${seconds(call.seconds)}`);
  result.dataset.bad = call.status >= 400;
  for (const [half, title, body] of [[sent, "asked", call.sent], [received, "answered", call.received]]) {
    setText(half.firstChild, t(title));
    setText(half.lastChild, body || t("nothing"));
  }
}

export function showLines(list, lines) {
  reconcile(list, lines.map((line, index) => ({ ...line, index })), {
    key: (line) => line.index,
    make: () => el("li"),
    update: (node, line) => {
      node.dataset.level = line.level;
      setText(node, line.text);
    },
  });
}
