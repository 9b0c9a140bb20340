"use strict";
// Numbers, durations and times as words: in English, times in the time zone of the browser.

const LANGUAGE = "en-GB";
const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;
// Between a number and its unit.
const NARROW = "\u00a0";

function number(value) {
  return value.toLocaleString(LANGUAGE);
}

function percent(share) {
  if (share > 0 && share < 0.01) return `<${NARROW}1${NARROW}%`;
  if (share < 1 && share > 0.99) return `>${NARROW}99${NARROW}%`;
  return `${Math.round(100 * share)}${NARROW}%`;
}

function plural(count, one, many) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

// Advice comes as half a sentence, as the log has it.
function sentence(text) {
  if (!text) return "";
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

// A duration that was measured: "5.7 ms", "0.45 s", "12.3 s", "2 min 5 s".
function seconds(value) {
  if (value === 0) return `0${NARROW}s`;
  if (value < 0.01) return `${(1000 * value).toFixed(1)}${NARROW}ms`;
  if (value < 99.95) return `${value.toFixed(value < 9.995 ? 2 : 1)}${NARROW}s`;
  const whole = Math.round(value);
  const minutes = Math.floor(whole / MINUTE);
  if (minutes >= 60) return duration(value);
  return whole % MINUTE ? `${minutes} min ${whole % MINUTE}${NARROW}s` : `${minutes} min`;
}

// A number on the axis of a plot of durations; `step` is the distance to the next.
function secondsTick(value, step) {
  const [, decimals = ""] = String(step).split(".");
  return `${value.toFixed(decimals.length)}${NARROW}s`;
}

// A long duration: "40 s", "5 min", "2 h 1 min", "3 days".
function duration(value) {
  const whole = Math.max(Math.floor(value), 0);
  if (whole < MINUTE) return `${whole}${NARROW}s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min`;
  const hours = Math.floor(whole / HOUR);
  if (hours >= 48) return `${Math.floor(hours / 24)} days`;
  const minutes = Math.floor((whole % HOUR) / MINUTE);
  return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
}

function ago(age) {
  return age < 1 ? "just now" : `${duration(age)} ago`;
}

function localDate(time) {
  return new Date(1000 * time);
}

function clock(time, withSeconds = false) {
  const second = withSeconds ? "2-digit" : undefined;
  return localDate(time).toLocaleTimeString(LANGUAGE, { hour: "2-digit", minute: "2-digit", second });
}

function weekday(time) {
  return localDate(time).toLocaleDateString(LANGUAGE, { weekday: "short", day: "numeric" });
}

function date(time) {
  return localDate(time).toLocaleDateString(LANGUAGE, { weekday: "short", day: "numeric", month: "short" });
}

function moment(time) {
  return `${date(time)}, ${clock(time, true)}`;
}

// A time on the axis of a plot that is `length` seconds long: the day where it begins.
function tickName(time, length) {
  return length > 20 * HOUR && clock(time) === "00:00" ? weekday(time) : clock(time);
}

// The slot of a history that begins at `time` and is `step` seconds long; `now` may be in it.
function slotName(time, step, now) {
  const end = time + step > now ? `${clock(time + step)}, so far` : clock(time + step);
  return now - time < 20 * HOUR ? `${clock(time)}–${end}` : `${date(time)}, ${clock(time)}–${end}`;
}

// Small amounts, such as the cost of one conversation, with more decimals.
function money(amount, currency) {
  const maximumFractionDigits = Math.abs(amount) < 0.1 ? 4 : 2;
  const options = { style: "currency", currency, currencyDisplay: "narrowSymbol", maximumFractionDigits };
  return amount.toLocaleString(LANGUAGE, options);
}
