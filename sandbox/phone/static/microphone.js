// The button that records: hold it, or tap it once to begin and once to send. Space and Enter tap.

import { $, setIcon } from "./dom.js";
import { clock, t } from "./strings.js";

const FORMATS = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
// As the microphone hears it: what filters take away, a transcription misses.
const SOUND = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
// A shorter press is a tap.
const HOLD_MS = 350;

let recorder = null;
// The recorders whose recordings are not to be sent.
const discarded = new WeakSet();
let clockTimer = 0;
// A press that has begun; null while no finger and no mouse button is down.
let pressed = null;
let starting = false;

// `post` gets the recording as a Blob, `tell` a sentence for the user.
export function addMicrophone(post, tell) {
  const button = $("mic");
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    button.setPointerCapture(event.pointerId);
    pressed = { at: performance.now(), began: !recorder };
    if (!recorder) start(post, tell);
  });
  button.addEventListener("pointerup", () => {
    if (!pressed) return;
    const { at, began } = pressed;
    pressed = null;
    const held = performance.now() - at >= HOLD_MS;
    if (!began || (held && recorder)) finish();
    else if (held && starting) tell(t("hold"));
    show();
  });
  button.addEventListener("pointercancel", () => { pressed = null; cancel(); });
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  // A click without a pointer: the keyboard, or a screen reader.
  button.addEventListener("click", (event) => {
    if (event.detail !== 0) return;
    if (recorder) finish();
    else start(post, tell);
  });
  $("cancel").addEventListener("click", () => { cancel(); button.focus(); });
  document.addEventListener("keydown", (event) => event.key === "Escape" && cancel());
}

async function start(post, tell) {
  if (starting) return;
  starting = true;
  tell("");
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: SOUND });
    const mimeType = FORMATS.find((format) => MediaRecorder.isTypeSupported(format));
    recorder = record(stream, mimeType, post, tell);
    runClock();
  } catch {
    tell(t("noMicrophone"));
  } finally {
    starting = false;
    show();
  }
}

// The recorder ends by itself when the microphone is unplugged. Then nobody has asked to send.
function record(stream, mimeType, post, tell) {
  const pieces = [];
  const own = new MediaRecorder(stream, { mimeType });
  own.addEventListener("dataavailable", (event) => pieces.push(event.data));
  own.addEventListener("stop", () => {
    stream.getTracks().forEach((track) => track.stop());
    if (own === recorder) {
      recorder = null;
      show();
      tell(t("microphoneLost"));
    } else if (!discarded.has(own)) {
      post(new Blob(pieces, { type: mimeType }));
    }
  });
  own.start();
  return own;
}

function finish() {
  const ended = recorder;
  recorder = null;
  ended?.stop();
  show();
}

function cancel() {
  if (!recorder) return;
  discarded.add(recorder);
  finish();
}

function runClock() {
  const began = performance.now();
  clearInterval(clockTimer);
  const tick = () => { $("clock").textContent = clock(Math.floor((performance.now() - began) / 1000)); };
  tick();
  clockTimer = setInterval(tick, 250);
}

export function show() {
  const active = Boolean(recorder);
  if (!active) clearInterval(clockTimer);
  $("recording").hidden = !active;
  $("text").hidden = active;
  $("attach-button").hidden = active;
  $("mic").classList.toggle("active", active);
  $("mic").setAttribute("aria-label", active ? t("sendNote") : t("record"));
  $("recording-hint").textContent = active ? t(pressed ? "release" : "again") : "";
  setIcon($("mic").querySelector("svg"), active && !pressed ? "send" : "mic");
}
