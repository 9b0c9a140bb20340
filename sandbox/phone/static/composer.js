// Writing, the attach menu, and everything that is sent: one after the other, in order. What could
// not be sent is kept.

import { get, send } from "./api.js";
import { $, el, icon } from "./dom.js";
import { addMicrophone } from "./microphone.js";
import { sampleName, t } from "./strings.js";

// The longer side of a picture that WhatsApp sends, in pixels.
const PICTURE_SIZE = 1600;
// The largest recording or picture that WhatsApp takes.
const LARGEST_BYTES = 16 * 1024 * 1024;
// What can be sent again with one click: functions, each of which sends one message.
let unsent = [];
let phone = "";
let offers = { samples: [], places: [] };
let last = Promise.resolve();

// If it is not sent, the user is told why, and `onFailure` gets the error.
export function post(kind, body, onFailure = () => {}) {
  tell("");
  last = last.then(() => send("POST", `${phone}/${kind}`, body)).then(
    () => tell(""),
    (error) => { tell(t("refused", { reason: error.message })); onFailure(error); },
  );
  return last;
}

function postText(text) {
  return post("text", { text }, () => giveBack(text));
}

function postFile(kind, file) {
  if (file.size > LARGEST_BYTES) return tell(t("refused", { reason: t("tooLarge") }));
  return post(kind, file, (error) => error.canRetry && keep(() => postFile(kind, file)));
}

// The box may have the beginning of the next message by now.
function giveBack(text) {
  if ($("text").value) keep(() => postText(text));
  else write(text);
}

function keep(sendIt) {
  unsent.push(sendIt);
  showUnsent();
}

function sendAgain() {
  const kept = unsent;
  unsent = [];
  showUnsent();
  $("text").focus();
  for (const sendIt of kept) sendIt();
}

export function showUnsent() {
  $("send-again").hidden = !unsent.length;
  $("send-again").textContent = t("sendAgain", { n: unsent.length });
}

export function tell(sentence) {
  $("hint").textContent = sentence;
}

export async function addComposer(address) {
  phone = address;
  $("composer").addEventListener("submit", (event) => { event.preventDefault(); sendText(); });
  $("text").addEventListener("input", fit);
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      sendText();
    }
  });
  $("attach-button").addEventListener("click", () => openMenu($("attach").hidden));
  $("picture").addEventListener("change", sendPicture);
  document.addEventListener("keydown", (event) => event.key === "Escape" && !$("attach").hidden && openMenu(false));
  $("send-again").addEventListener("click", sendAgain);
  addMicrophone((recording) => postFile("recording", recording), tell);
  offers = await get("/api/offers");
  $("speech-note").hidden = !offers.note;
  $("speech-note").textContent = offers.note;
  fillMenu();
}

function sendText() {
  const text = $("text").value;
  if (!text.trim()) return;
  postText(text);
  write("");
}

function write(text) {
  $("text").value = text;
  fit();
}

// The box grows with its text; the microphone gives way to the send button.
function fit() {
  const box = $("text");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
  $("send").hidden = !box.value.trim();
  $("mic").hidden = !$("send").hidden;
}

function openMenu(open) {
  const had = $("attach").contains(document.activeElement);
  $("attach").hidden = !open;
  $("attach-button").setAttribute("aria-expanded", String(open));
  if (open) $("attach").querySelector("button, input").focus();
  else if (had) $("attach-button").focus();
}

export function fillMenu() {
  $("samples").replaceChildren(...offers.samples.map((name) => item("mic", sampleName(name), () => post("sample", { name }))));
  $("places").replaceChildren(...offers.places.map((label, place) => item("pin", t("place", { place: label }), () => post("place", { place }))));
}

function item(symbol, label, act) {
  const click = () => { openMenu(false); act(); };
  return el("button", { type: "button", class: "item", on: { click } }, icon(symbol), el("span", { textContent: label, dir: "auto" }));
}

async function sendPicture() {
  const [file] = $("picture").files;
  $("picture").value = "";
  openMenu(false);
  if (!file) return;
  try {
    const caption = $("text").value.trim();
    const picture = await jpeg(file);
    write("");
    await postFile(`picture?caption=${encodeURIComponent(caption)}`, picture);
  } catch (error) {
    tell(t("refused", { reason: error.message }));
  }
}

// WhatsApp sends every picture as a JPEG of limited size.
async function jpeg(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, PICTURE_SIZE / Math.max(bitmap.width, bitmap.height));
  const canvas = el("canvas", { width: bitmap.width * scale, height: bitmap.height * scale });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.85));
}
