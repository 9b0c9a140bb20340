// The conversation: bubbles on both sides, and the typing indicator.

import { send } from "./api.js";
import { $, el, icon, reconcile, setIcon, setText, unseen } from "./dom.js";
import { format } from "./format.js";
import { t, timeOfDay } from "./strings.js";
import { voiceNote } from "./voice-note.js";

// Nearer to the end than this, in pixels, new messages are scrolled to.
const NEAR = 120;
const reported = new Set();

export function showChat(chat, phone, post) {
  const log = $("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
  const count = $("messages").children.length;
  reconcile($("messages"), chat.messages, {
    key: (message) => (isLost(message) ? `${message.sid} lost` : message.sid),
    make: (message) => (isLost(message) ? lost(message) : bubble(message, phone, post)),
    update: refresh,
  });
  $("typing").hidden = !chat.typing;
  const added = $("messages").children.length - count;
  const mine = chat.messages.at(-1)?.mine;
  if (atEnd || (added > 0 && mine)) log.scrollTop = log.scrollHeight;
  reportRead(chat, phone);
}

const isLost = (message) => !message.mine && message.status === "undelivered";

function lost(message) {
  return el("p", { class: "chip lost", data: { code: message.error, kind: message.kind } });
}

function bubble(message, phone, post) {
  const who = unseen("");
  const time = el("time", { dateTime: message.at });
  const foot = el("p", { class: "foot" }, time);
  if (message.mine) foot.append(icon("sent"), unseen(""));
  const node = el("article", { class: `bubble ${message.mine ? "mine" : "theirs"}`, data: { kind: message.kind, sid: message.sid } },
    who, ...content(message, phone), foot);
  if (message.mine) node.append(el("p", { class: "problem", hidden: true }));
  if (message.buttons?.length) node.append(buttons(message, post));
  if (message.rows?.length) node.append(listButton(message, post));
  return node;
}

function content(message, phone) {
  const address = `${phone}/messages/${message.sid}`;
  const text = message.text ? [el("div", { class: "text" }, ...format(message.text))] : [];
  if (message.kind === "voice") return [voiceNote({ ...message, address })];
  if (message.kind === "picture") return [el("img", { src: `${address}/file`, alt: t("pictureSent") }), ...text];
  if (message.kind === "location") return [place(message.place)];
  if (message.kind === "choice") return [el("p", { class: "chosen" }, icon("reply"), message.text)];
  return text;
}

function place({ label, address, latitude, longitude }) {
  const lines = [label, address, `${latitude}, ${longitude}`].filter(Boolean);
  return el("div", { class: "place" }, icon("pin"), el("div", {}, ...lines.map((line) => el("p", { dir: "auto", textContent: line }))));
}

function buttons(message, post) {
  return el("div", { class: "choices" }, ...message.buttons.map((button) => el("button", {
    type: "button", textContent: button.title, dir: "auto",
    on: { click: () => post("choice", { message: message.sid, choice: button.id }) },
  })));
}

function listButton(message, post) {
  const open = el("button", { type: "button", dir: "auto", on: { click: () => openList(message, post) } }, icon("list"), message.listButton || t("choose"));
  return el("div", { class: "choices" }, open);
}

function openList(message, post) {
  setText($("list-title"), message.listButton || t("choose"));
  $("list-rows").replaceChildren(...message.rows.map((row) => el("button", {
    type: "button", dir: "auto",
    on: { click: () => { $("list").close(); post("choice", { message: message.sid, choice: row.id }); } },
  }, el("strong", { textContent: row.title }), el("span", { textContent: row.description }))));
  $("list").showModal();
}

// What changes in a bubble: ticks, used buttons, and the words of another language.
function refresh(node, message) {
  if (isLost(message)) {
    setText(node, t(message.kind === "voice" ? "lost" : "lostText", { code: message.error }));
    return;
  }
  const kind = message.kind === "voice" ? `, ${t("voiceNote")}` : "";
  setText(node.querySelector(".unseen"), `${t(message.mine ? "you" : "they")}${kind}: `);
  setText(node.querySelector("time"), timeOfDay(message.at));
  node.querySelector(".voice")?.parentNode.relabel();
  if (message.mine) showTicks(node, message.status);
  for (const button of node.querySelectorAll(".choices button")) button.disabled = Boolean(message.chosen);
}

function showTicks(node, status) {
  if (node.dataset.status !== status) setIcon(node.querySelector(".foot .icon"), status === "read" ? "delivered" : status);
  node.dataset.status = status;
  setText(node.querySelector(".foot .unseen"), t(status));
  const problem = node.querySelector(".problem");
  problem.hidden = status !== "failed";
  setText(problem, problem.hidden ? "" : t("notTaken"));
}

// What a person can see is read, as in WhatsApp.
export function reportRead(chat, phone) {
  if (document.visibilityState !== "visible" || !$("log").offsetParent) return;
  for (const { sid, mine, status } of chat.messages) {
    if (mine || status !== "delivered" || reported.has(sid)) continue;
    reported.add(sid);
    send("POST", `${phone}/messages/${sid}/read`).catch(() => reported.delete(sid));
  }
}
