// Starts the page: its language, its number, and the events that say what has changed.

import { ownNumber, phoneAddress } from "./api.js";
import { reportRead, showChat } from "./chat.js";
import { addComposer, fillMenu, post, showUnsent } from "./composer.js";
import { $, setText } from "./dom.js";
import { showTurn } from "./inside.js";
import { show as showMicrophone } from "./microphone.js";
import { applyLanguage, language, number as spaced, setLanguage, t } from "./strings.js";
import { showService, showSwitches } from "./switches.js";
import { withStream } from "./tabs.js";

const RETRY_MS = 2000;
let number = "";
let phone = "";
// The newest state of each part, to be shown again in another language.
const latest = { chat: { messages: [], typing: false }, turn: null, switches: [], service: null };
const SHOW = {
  chat: (chat) => { showChat(chat, phone, post); showState(); },
  turn: showTurn,
  switches: showSwitches,
  service: (service) => { showService(service); showState(); },
};

function showState() {
  const dead = latest.service && latest.service.state !== "running";
  setText($("state"), latest.chat.typing ? t("typing") : dead ? t("down") : t("online"));
}

function showAll() {
  applyLanguage();
  setText($("language"), t("other"));
  $("language").lang = t("otherCode");
  setText($("about"), t("about", { number: `\u2066${spaced(number)}\u2069` }));
  document.title = `${spaced(number)} · ${t("agent")}`;
  showMicrophone();
  fillMenu();
  showUnsent();
  for (const [name, act] of Object.entries(SHOW)) act(latest[name]);
}

// Only a tab that is visible listens: the browser has few connections, and a new stream begins with
// the state of everything.
async function keepListening() {
  for (;;) {
    await untilVisible();
    if (await withStream(listen)) continue;
    showTrouble("tooMany");
    await pause(RETRY_MS);
  }
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function untilVisible() {
  while (document.hidden) {
    await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
  }
}

// Ends when the tab is hidden, or when the server has refused.
function listen() {
  return new Promise((done) => {
    const events = new EventSource(`${phone}/events`);
    const end = () => {
      document.removeEventListener("visibilitychange", end);
      events.close();
      done();
    };
    document.addEventListener("visibilitychange", end);
    for (const name of Object.keys(SHOW)) {
      events.addEventListener(name, (event) => SHOW[name]((latest[name] = JSON.parse(event.data))));
    }
    events.addEventListener("open", () => { $("trouble").hidden = true; });
    events.addEventListener("error", () => {
      showTrouble("offline");
      // The browser itself tries again, unless the server has refused.
      if (events.readyState === EventSource.CLOSED) setTimeout(end, RETRY_MS);
    });
    if (document.hidden) end();
  });
}

function showTrouble(sentence) {
  $("trouble").hidden = false;
  setText($("trouble"), t(sentence));
}

function look(view) {
  document.body.dataset.view = view;
  $("look-inside").setAttribute("aria-expanded", String(view === "inside"));
  (view === "inside" ? $("look-back") : $("look-inside")).focus();
  reportRead(latest.chat, phone);
}

async function begin() {
  applyLanguage();
  number = await ownNumber();
  phone = phoneAddress(number);
  showAll();
  $("language").addEventListener("click", () => { setLanguage(language === "ar" ? "en" : "ar"); showAll(); });
  $("look-inside").addEventListener("click", () => look("inside"));
  $("look-back").addEventListener("click", () => look("chat"));
  $("list-close").addEventListener("click", () => $("list").close());
  document.addEventListener("visibilitychange", () => reportRead(latest.chat, phone));
  await addComposer(phone);
  keepListening();
}

begin();
