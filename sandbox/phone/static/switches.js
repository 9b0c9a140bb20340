// The switches: each with what the service did when it met the fault.

import { send } from "./api.js";
import { $, el, reconcile, setText } from "./dom.js";
import { showLines } from "./inside.js";
import { t, times } from "./strings.js";

export function showSwitches(switches) {
  reconcile($("switches"), switches, { key: (each) => each.name, make: makeSwitch, update: updateSwitch });
}

function makeSwitch({ name }) {
  const box = el("input", { type: "checkbox", id: `switch-${name}`, role: "switch", "aria-describedby": `about-${name}` });
  box.addEventListener("change", () => send("PUT", `/api/switches/${name}`, { on: box.checked }).catch(() => { box.checked = !box.checked; }));
  return el("div", { class: "switch" },
    el("label", { htmlFor: box.id }, box, el("span")),
    el("p", { class: "note", id: `about-${name}` }),
    el("p", { class: "met", role: "status" }),
    el("ol", { class: "lines", dir: "ltr" }));
}

function updateSwitch(node, { name, on, times: count, lines }) {
  const [label, note, met, list] = node.children;
  const [title, about] = t(`sw.${name}`);
  label.firstChild.checked = on;
  setText(label.lastChild, title);
  setText(note, about);
  setText(met, count ? t("met", { times: times(count) }) : "");
  showLines(list, lines);
}

export function showService(service) {
  $("service").hidden = !service;
  if (!service) return;
  if (!$("service").children.length) $("service").append(...serviceParts());
  const [button, note, state, list] = $("service").children;
  const alive = service.state === "running";
  setText(button, alive ? t(`killed.${service.kind}`) : t("startAgain"));
  button.dataset.action = alive ? "kill" : "start";
  button.disabled = service.state === "starting";
  setText(note, t("killNote"));
  const since = service.lines.length ? ` ${t("since")}` : "";
  setText(state, `${t(`state.${service.state}`)} ${service.problem}${since}`);
  showLines(list, service.lines);
}

function serviceParts() {
  const button = el("button", { type: "button", class: "danger" });
  button.addEventListener("click", () => send("POST", `/api/service/${button.dataset.action}`).catch(() => {}));
  return [button, el("p", { class: "note" }), el("p", { class: "met", role: "status" }), el("ol", { class: "lines", dir: "ltr" })];
}
