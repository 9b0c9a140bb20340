"use strict";
// A plot over time: stacked bars or lines, with axes, a legend, values at a cursor that the mouse,
// a finger or the keyboard moves, and the same numbers as a table.

const HEIGHT = 190;
const MARGIN = { left: 46, right: 10, top: 8, bottom: 24 };
const LEAST_BAR = 3;
const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
const KEYS = { ...STEPS, Home: -Infinity, End: Infinity };

// The slot that all plots point at, by its begin; null if none.
class Cursor {
  constructor() {
    this.at = null;
    this.plots = [];
  }

  move(at, by = null) {
    this.at = at;
    for (const plot of this.plots) plot.pointAt(at, plot === by);
  }
}

class Plot {
  // `series` has {name, className, kind: "bar" | "below" | "line", value: (point) => number or
  // null}; `text` makes a value readable, `tick` one on the axis. `whole`: there are no fractions.
  constructor(figure, { series, text = number, tick = number, whole = false, cursor }) {
    Object.assign(this, { figure, series, text, tick, whole, cursor, history: null, pointed: false });
    this.title = figure.querySelector("figcaption").textContent;
    cursor.plots.push(this);
    this.build();
    this.listen();
  }

  build() {
    this.axes = makeSvg("g", { class: "axes" });
    this.mark = makeSvg("path", { class: "cursor" });
    this.paths = this.series.map(({ kind, className }) => makeSvg("path", { class: `${kind} ${className}` }));
    this.dots = makeSvg("g");
    this.svg = makeSvg("svg", { "aria-hidden": "true" }, this.axes, this.mark, ...this.paths, this.dots);
    this.tooltip = make("div", { class: "tooltip", "aria-hidden": "true", hidden: "" });
    this.empty = make("p", { class: "nothing", hidden: "" }, "Nothing measured in this time");
    this.canvas = make(
      "div",
      { class: "canvas", tabindex: "0", role: "slider", "aria-label": `${this.title}: values at a time` },
      this.svg, this.empty, this.tooltip,
    );
    this.table = make("table");
    const summary = make("summary", {}, "Table", make("span", { class: "unseen" }, `: ${this.title}`));
    const rows = make("div", { class: "rows", tabindex: "0", role: "group", "aria-label": this.title }, this.table);
    this.details = make("details", {}, summary, rows);
    this.figure.append(this.legend(), this.canvas, this.details);
  }

  legend() {
    const keys = this.series.map(({ name, kind, className }) => {
      const d = kind === "line" ? "M1 6h22" : "M7 1h10v10h-10z";
      const sample = makeSvg("path", { class: `${kind} ${className}`, d });
      return make("li", {}, makeSvg("svg", { viewBox: "0 0 24 12", "aria-hidden": "true" }, sample), name);
    });
    return make("ul", { class: "legend" }, ...keys);
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointermove", (event) => this.follow(event));
    canvas.addEventListener("pointerdown", (event) => this.follow(event));
    canvas.addEventListener("pointerleave", (event) => this.leave(event));
    canvas.addEventListener("focus", () => this.begin());
    canvas.addEventListener("blur", () => this.cursor.move(null));
    canvas.addEventListener("keydown", (event) => this.step(event));
    this.details.addEventListener("toggle", () => this.drawTable());
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  update(history) {
    this.history = history;
    this.draw();
    this.drawTable();
  }

  // The values of all series at each point.
  values() {
    return this.series.map(({ value }) => this.history.points.map(value));
  }

  draw() {
    if (!this.history) return;
    const width = Math.max(this.canvas.clientWidth, 200);
    const { from, to, step, points } = this.history;
    const values = this.values();
    const { most, least } = this.range(values);
    const isEmpty = values.every((each) => each.every((value) => !value));
    const ticks = roundTicks(most, 4, this.whole);
    this.x = linear(from, to, MARGIN.left, width - MARGIN.right);
    this.y = linear(-least, ticks.at(-1), HEIGHT - MARGIN.bottom, MARGIN.top);
    this.slot = this.x(from + step) - this.x(from);
    setAttribute(this.svg, "viewBox", `0 0 ${width} ${HEIGHT}`);
    this.drawAxes(isEmpty ? [0] : ticks, width);
    this.drawSeries(values, points);
    show(this.empty, isEmpty);
    this.pointAt(this.cursor.at, this.pointed);
  }

  // How far the values reach above and below the base line.
  range(values) {
    const reach = { most: 0, least: 0 };
    this.history.points.forEach((_, index) => {
      const ofKind = (kind) => values.filter((_, nth) => this.series[nth].kind === kind);
      const at = (kind) => ofKind(kind).map((each) => each[index] || 0);
      const sum = (kind) => at(kind).reduce((total, value) => total + value, 0);
      reach.most = Math.max(reach.most, sum("bar"), ...at("line"));
      reach.least = Math.max(reach.least, sum("below"));
    });
    return reach;
  }

  drawAxes(ticks, width) {
    const { from, to } = this.history;
    const rules = ticks.flatMap((tick) => {
      const y = this.y(tick);
      return [
        makeSvg("path", { d: `M${MARGIN.left} ${y}H${width - MARGIN.right}`, class: tick ? "rule" : "base" }),
        makeSvg("text", { x: MARGIN.left - 8, y: y + 4, class: "upright" }, this.tick(tick, ticks[1])),
      ];
    });
    const times = timeTicks(from, to, Math.floor((width - MARGIN.left) / 62));
    const labels = times.map((time) => {
      const x = Math.min(Math.max(this.x(time), MARGIN.left + 14), width - MARGIN.right - 14);
      return makeSvg("text", { x, y: HEIGHT - 6, class: "along" }, tickName(time, to - from));
    });
    const notches = times.map((time) => makeSvg("path", { d: `M${this.x(time)} ${HEIGHT - MARGIN.bottom}v4`, class: "base" }));
    this.axes.replaceChildren(...rules, ...notches, ...labels);
  }

  drawSeries(values, points) {
    const heaps = points.map(() => 0);
    this.series.forEach(({ kind }, at) => {
      const path = kind === "line" ? this.line(values[at]) : this.bars(values[at], kind === "bar" ? heaps : null);
      setAttribute(this.paths[at], "d", path);
    });
  }

  // Rectangles on top of `heaps`, which grow; below the base line without them.
  bars(values, heaps) {
    const gap = this.slot > 5 ? Math.min(3, 0.2 * this.slot) : 0.5;
    const base = this.y(0);
    return values.map((value, index) => {
      if (!value) return "";
      const x = this.left(index) + gap / 2;
      if (!heaps) return box(x, base + 1, this.slot - gap, Math.max(this.y(-value) - base, LEAST_BAR));
      const bottom = this.y(heaps[index]);
      heaps[index] += value;
      return box(x, this.y(heaps[index]), this.slot - gap, bottom - this.y(heaps[index]));
    }).join("");
  }

  // A single value between gaps becomes a dash as long as its slot.
  line(values) {
    return runs(values).map((run) => {
      const y = (index) => this.y(values[index]).toFixed(1);
      if (run.length === 1) return `M${this.left(run[0]).toFixed(1)} ${y(run[0])}h${this.slot.toFixed(1)}`;
      return `M${run.map((index) => `${this.middle(index).toFixed(1)} ${y(index)}`).join("L")}`;
    }).join("");
  }

  left(index) {
    return this.x(this.history.points[index].at);
  }

  middle(index) {
    return this.left(index) + this.slot / 2;
  }

  follow(event) {
    if (!this.history || !this.history.points.length) return;
    const { left, width } = this.canvas.getBoundingClientRect();
    const scale = this.svg.viewBox.baseVal.width / width;
    const index = Math.floor(((event.clientX - left) * scale - MARGIN.left) / this.slot);
    this.goTo(index);
  }

  // A finger that is lifted has not left: the values stay until something else is touched.
  leave(event) {
    if (event.pointerType !== "touch") this.cursor.move(null);
  }

  goTo(index) {
    const { points } = this.history;
    this.cursor.move(points[Math.min(Math.max(index, 0), points.length - 1)].at, this);
  }

  // By the keyboard, the cursor starts at the newest slot in which something was measured.
  begin() {
    if (!this.history || !this.canvas.matches(":focus-visible")) return;
    const values = this.values();
    const newest = this.history.points.findLastIndex((_, index) => values.some((each) => each[index]));
    this.goTo(newest < 0 ? Infinity : newest);
  }

  step(event) {
    if (event.key === "Escape") this.cursor.move(null);
    if (!(event.key in KEYS) || !this.history) return;
    event.preventDefault();
    this.goTo(this.index(this.cursor.at ?? Infinity) + KEYS[event.key]);
  }

  // The index of the slot that begins at `at`; the last one if there is none.
  index(at) {
    const found = this.history.points.findIndex((point) => point.at === at);
    return found < 0 ? this.history.points.length - 1 : found;
  }

  pointAt(at, active) {
    if (!this.history) return;
    const index = this.history.points.findIndex((point) => point.at === at);
    this.pointed = active && index >= 0;
    show(this.tooltip, this.pointed);
    this.drawCursor(index);
    this.announce(index);
    if (this.pointed) this.fillTooltip(index);
  }

  drawCursor(index) {
    const x = index < 0 ? 0 : this.middle(index);
    setAttribute(this.mark, "d", index < 0 ? "" : `M${x} ${MARGIN.top}V${HEIGHT - MARGIN.bottom}`);
    const dots = this.series.map(({ kind, className, value }) => {
      const found = kind === "line" && index >= 0 ? value(this.history.points[index]) : null;
      return found === null ? "" : makeSvg("circle", { cx: x, cy: this.y(found), r: 4, class: `dot ${className}` });
    });
    this.dots.replaceChildren(...dots);
  }

  // What a screen reader says of the slot.
  announce(index) {
    const { points } = this.history;
    const known = index < 0 ? points.length - 1 : index;
    const read = this.series.map((each) => `${each.name} ${this.textAt(each, known)}`);
    setAttribute(this.canvas, "aria-valuemin", 0);
    setAttribute(this.canvas, "aria-valuemax", points.length - 1);
    setAttribute(this.canvas, "aria-valuenow", known);
    setAttribute(this.canvas, "aria-valuetext", `${this.name(known)}: ${read.join(", ")}`);
  }

  name(index) {
    return slotName(this.history.points[index].at, this.history.step, serverClock.now());
  }

  textAt({ value }, index) {
    const found = value(this.history.points[index]);
    return found === null ? "–" : this.text(found);
  }

  fillTooltip(index) {
    const rows = this.series.map((each) => {
      const value = make("b", {}, this.textAt(each, index));
      return make("span", { class: "row" }, make("span", {}, each.name), value);
    });
    this.tooltip.replaceChildren(make("span", { class: "when" }, this.name(index)), ...rows);
    this.placeTooltip(this.middle(index));
  }

  // Beside the slot, on the side with more room, and inside of the plot.
  placeTooltip(x) {
    const width = this.canvas.clientWidth;
    const own = this.tooltip.offsetWidth;
    const left = x > width / 2 ? x - own - 12 : x + 12;
    this.tooltip.style.left = `${Math.max(Math.min(left, width - own), 0)}px`;
  }

  // Only while it is open: a week has many rows.
  drawTable() {
    if (!this.details.open || !this.history) return;
    const names = ["Time", ...this.series.map(({ name }) => name)];
    const head = make("tr", {}, ...names.map((text) => make("th", { scope: "col" }, text)));
    const rows = this.history.points.map((point, index) => {
      if (!this.series.some(({ value }) => value(point))) return "";
      const cells = this.series.map((each) => make("td", {}, this.textAt(each, index)));
      return make("tr", {}, make("th", { scope: "row" }, this.name(index)), ...cells);
    });
    this.table.replaceChildren(
      make("caption", {}, "Times in which nothing was measured are left out."),
      make("thead", {}, head),
      make("tbody", {}, ...rows),
    );
  }
}

function box(x, y, width, height) {
  return `M${x.toFixed(1)} ${y.toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}h${(-width).toFixed(1)}z`;
}
