// A voice note in a bubble: play, waveform, length, speed, and its words on demand.

import { get } from "./api.js";
import { el, icon, setIcon, setText } from "./dom.js";
import { clock, t } from "./strings.js";

const SPEEDS = [1, 1.5, 2];
const SVG = "http://www.w3.org/2000/svg";
const plays = document.createElement("audio").canPlayType("audio/ogg; codecs=opus") !== "";
// Two notes never play at once.
let playing = null;

export function voiceNote(message) {
  const audio = el("audio", { preload: "none", src: `${message.address}/${plays ? "file" : "wav"}` });
  const picture = icon("play");
  const button = el("button", { type: "button", class: "play", on: { click: toggle } }, picture);
  const wave = waveform(message.bars);
  const position = el("input", { type: "range", min: 0, max: message.seconds, step: 0.1, value: 0, on: { input: seek } });
  const length = el("span", { class: "length" });
  const speed = el("button", { type: "button", class: "speed", on: { click: changeSpeed } });
  const transcript = el("button", { type: "button", class: "link", on: { click: showWords } });
  const words = el("p", { class: "words", dir: "auto", hidden: true, role: "status" });
  let open = false;
  let known = false;

  function toggle() {
    if (!audio.paused) return audio.pause();
    if (playing && playing !== audio) playing.pause();
    playing = audio;
    return audio.play();
  }
  function seek() {
    audio.currentTime = Number(position.value);
    show();
  }
  function changeSpeed() {
    const next = SPEEDS[(SPEEDS.indexOf(audio.playbackRate) + 1) % SPEEDS.length];
    audio.playbackRate = audio.defaultPlaybackRate = next;
    relabel();
  }
  async function showWords() {
    open = !open;
    words.hidden = !open;
    relabel();
    if (!open || known) return;
    words.textContent = "…";
    try {
      const { text } = await get(`${message.address}/transcript`);
      words.textContent = text || t("noWords");
      known = true;
    } catch {
      words.textContent = t("noTranscript");
      open = false;
      relabel();
    }
  }
  function show() {
    const at = audio.ended ? 0 : audio.currentTime;
    position.value = at;
    position.setAttribute("aria-valuetext", clock(at));
    [...wave.children].forEach((bar, index) => {
      bar.classList.toggle("heard", at > 0 && index < (at / message.seconds) * wave.children.length);
    });
    setText(length, clock(at || message.seconds));
    setIcon(picture, audio.paused ? "play" : "pause");
    button.setAttribute("aria-label", audio.paused ? t("play") : t("pause"));
  }
  function relabel() {
    setText(speed, `${audio.playbackRate}×`);
    speed.setAttribute("aria-label", t("speed", { speed: `${audio.playbackRate}×` }));
    position.setAttribute("aria-label", t("position"));
    transcript.setAttribute("aria-expanded", String(open));
    setText(transcript, open ? t("hideTranscript") : t("transcript"));
    show();
  }
  for (const event of ["play", "pause", "ended", "timeupdate"]) audio.addEventListener(event, show);
  const track = el("div", { class: "track" }, wave, position);
  const node = el("div", { class: "voice", dir: "ltr" }, audio, button, track, length, speed);
  const whole = el("div", {}, node, transcript, words);
  whole.relabel = relabel;
  relabel();
  return whole;
}

function waveform(bars) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "wave");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("viewBox", `0 0 ${bars.length * 4} 32`);
  svg.setAttribute("preserveAspectRatio", "none");
  bars.forEach((loudness, index) => {
    const height = Math.max(2.5, (loudness / 100) * 30);
    const bar = document.createElementNS(SVG, "rect");
    const sizes = { x: index * 4 + 0.75, y: 16 - height / 2, width: 2.5, height, rx: 1.2 };
    for (const [name, value] of Object.entries(sizes)) bar.setAttribute(name, value);
    svg.append(bar);
  });
  return svg;
}
