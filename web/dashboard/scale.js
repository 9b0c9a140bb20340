"use strict";
// Scales and ticks of plots.

const TIME_STEPS = [5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880].map((minutes) => minutes * MINUTE);

// Round numbers from 0 to `most` or the next above it, some `about` of them.
function roundTicks(most, about, whole = false) {
  const rough = (most || 1) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((each) => each >= 0.999 * rough);
  if (whole) step = Math.max(1, Math.ceil(step));
  const count = Math.max(1, Math.ceil((most || 1) / step - 0.001));
  return Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}

// Round local times from `from` to `to`, at most `about` of them. A day of 23 or 25 hours has the
// same hours of the clock.
function timeTicks(from, to, about) {
  const step = TIME_STEPS.find((each) => (to - from) / each <= about) || 2 * TIME_STEPS.at(-1);
  const first = localDate(from);
  const times = new Set();
  for (let minutes = 0, time = 0; time <= to; minutes += step / MINUTE) {
    time = new Date(first.getFullYear(), first.getMonth(), first.getDate(), 0, minutes) / 1000;
    if (time >= from && time <= to) times.add(time);
  }
  return [...times];
}

// The indexes of `values` in pieces, broken where nothing was measured (null).
function runs(values) {
  const pieces = [];
  values.forEach((value, index) => {
    if (value === null) return;
    if (index > 0 && values[index - 1] !== null) pieces.at(-1).push(index);
    else pieces.push([index]);
  });
  return pieces;
}

// A function from [low, high] to [start, end].
function linear(low, high, start, end) {
  return (value) => start + ((value - low) / (high - low)) * (end - start);
}
