// Curves over time, drawn by hand: one chart for money (steps, for money stands still between settlements), for how full
// the limits are, and for one period against another; and their small sisters.

import { draw, make, money, write } from "./format.js";

const PAD = { top: 14, right: 16, bottom: 24, left: 58 };
let charts = 0;

function niceStep(range, most) {
  const rough = range / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 2.5, 5, 10].map((m) => m * power).find((step) => step >= rough * 0.999);
}

const path = (points, x, y, stepped) =>
  points
    .map(([t, v], i) => {
      if (i === 0) return `M${x(t).toFixed(1)} ${y(v).toFixed(1)}`;
      return stepped ? `H${x(t).toFixed(1)}V${y(v).toFixed(1)}` : `L${x(t).toFixed(1)} ${y(v).toFixed(1)}`;
    })
    .join("");

// [[time, "profit"], …] → points of a curve that begins at zero and goes on until now.
export function moneyPoints(curve, from, to) {
  const points = [[from, 0], ...curve.map(([time, profit]) => [time, Number(profit)])];
  if (to !== null) points.push([to, points.at(-1)[1]]);
  return points;
}

export function sparkline(curve, nowS, width = 104, height = 26) {
  const svg = draw("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  if (curve.length === 0) return svg;
  const points = moneyPoints(curve, Math.min(curve[0][0], nowS) - 1, nowS);
  const values = points.map(([, value]) => value);
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  const first = points[0][0];
  const x = (t) => 1 + ((width - 5) * (t - first)) / Math.max(1, nowS - first);
  const y = (v) => height - 3 - ((height - 6) * (v - low)) / Math.max(0.01, high - low);
  const tone = toneOfNumber(values.at(-1));
  svg.append(
    draw("line", { class: "zero", x1: 0, x2: width, y1: y(0), y2: y(0) }),
    draw("path", { class: `line ${tone}`, d: path(points, x, y, true) }),
    draw("circle", { class: `end ${tone}`, cx: x(nowS), cy: y(values.at(-1)), r: 2 }),
  );
  return svg;
}

const toneOfNumber = (value) => (value > 0 ? "gain" : value < 0 ? "loss" : "even");

// show({label, empty, from, to, every, tick, at, series, low, high, value, marks}); a series is {name, points, kind,
// stepped, text}: kind "money" fills towards zero, others are lines in their own style.
export class Chart {
  #box;
  #readout;
  #number = ++charts;
  #drawing = null;
  #cursor = null;
  #scale = null;

  constructor(box, readout) {
    this.#box = box;
    this.#readout = readout;
    new ResizeObserver(() => this.#render()).observe(box);
    box.addEventListener("pointermove", (event) => this.#point(event));
    box.addEventListener("pointerleave", () => this.#moveTo(null));
    box.addEventListener("blur", () => this.#moveTo(null));
    box.addEventListener("keydown", (event) => this.#key(event));
  }

  show(drawing) {
    this.#drawing = drawing;
    this.#box.setAttribute("aria-label", drawing.label);
    this.#render();
  }

  #render() {
    const { clientWidth: width, clientHeight: height } = this.#box;
    const drawing = this.#drawing;
    if (!width || !height || !drawing) return;
    const series = drawing.series.filter((one) => one.points.length > 0);
    if (series.length === 0) {
      this.#scale = null;
      write(this.#readout, "");
      if (this.#box.firstElementChild?.textContent !== drawing.empty) this.#box.replaceChildren(make("p.empty", {}, drawing.empty));
      return;
    }
    const values = series.flatMap((one) => one.points.map(([, value]) => value));
    const least = drawing.low ?? Math.min(0, ...values);
    const most = drawing.high ?? Math.max(0, ...values);
    const step = niceStep(Math.max(drawing.high ? 0 : 0.4, most - least), height < 220 ? 3 : 5);
    const low = Math.floor(least / step + 1e-9) * step;
    const high = Math.max(Math.ceil(most / step - 1e-9) * step, low + step);
    const long = Math.max(1, drawing.to - drawing.from);
    const x = (t) => PAD.left + ((width - PAD.left - PAD.right) * (t - drawing.from)) / long;
    const y = (v) => height - PAD.bottom - ((height - PAD.top - PAD.bottom) * (v - low)) / (high - low);
    this.#scale = { x, y, width, height, long, series };
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
    for (let value = low; value <= high + step / 2; value += step) {
      const zero = Math.abs(value) < step / 2;
      svg.append(
        draw("line", { class: zero ? "zero" : "grid", x1: PAD.left, x2: width - PAD.right, y1: y(value), y2: y(value) }),
        draw("text", { class: "axis", x: PAD.left - 10, y: y(value) + 4, "text-anchor": "end" }, drawing.value(zero ? 0 : value)),
      );
    }
    for (const mark of drawing.marks ?? []) {
      svg.append(draw("line", { class: "limit", x1: PAD.left, x2: width - PAD.right, y1: y(mark), y2: y(mark) }));
    }
    const every = drawing.every(long / Math.max(2, width / 110));
    for (let t = Math.ceil(drawing.from / every) * every; t <= drawing.to; t += every) {
      if (x(t) < PAD.left + 14 || x(t) > width - PAD.right - 14) continue;
      svg.append(draw("text", { class: "axis", x: x(t), y: height - 6, "text-anchor": "middle" }, drawing.tick(t, every)));
    }
    for (const one of [...series].reverse()) svg.append(...(one.kind === "money" ? this.#money(one, x, y) : [this.#line(one, x, y)]));
    this.#box.replaceChildren(svg);
    this.#renderCursor();
  }

  #line(one, x, y) {
    return draw("path", { class: `line ${one.kind}`, d: path(one.points, x, y, one.stepped) });
  }

  // Green above zero, red below it, and a dot at the end.
  #money(one, x, y) {
    const half = (name, top, height) =>
      draw("clipPath", { id: `${name}-${this.#number}` }, draw("rect", { x: 0, y: top, width: 10_000, height: Math.max(0, height) }));
    const parts = [draw("defs", {}, half("gain", -10, y(0) + 10), half("loss", y(0), 10_000))];
    const line = path(one.points, x, y, true);
    const area = `${line}V${y(0).toFixed(1)}H${x(one.points[0][0]).toFixed(1)}Z`;
    for (const tone of ["gain", "loss"]) {
      const clip = `url(#${tone}-${this.#number})`;
      parts.push(
        draw("path", { class: `area ${tone}`, d: area, "clip-path": clip }),
        draw("path", { class: `line ${tone}`, d: line, "clip-path": clip }),
      );
    }
    const [endX, endY] = one.points.at(-1);
    const tone = toneOfNumber(endY);
    parts.push(
      draw("circle", { class: `halo ${tone}`, cx: x(endX), cy: y(endY), r: 9 }),
      draw("circle", { class: `end ${tone}`, cx: x(endX), cy: y(endY), r: 4 }),
    );
    return parts;
  }

  #renderCursor() {
    const svg = this.#box.querySelector("svg");
    svg?.querySelector(".cursor")?.remove();
    if (!svg || !this.#scale || this.#cursor === null) {
      write(this.#readout, "");
      return;
    }
    const { x, y, height, series } = this.#scale;
    const { from, to, at } = this.#drawing;
    const time = Math.min(Math.max(this.#cursor, from), to);
    const cursor = draw("g", { class: "cursor" }, draw("line", { x1: x(time), x2: x(time), y1: PAD.top, y2: height - PAD.bottom }));
    const told = [at(time)];
    for (const one of series) {
      const reached = one.points.filter(([t]) => t <= time).at(-1);
      if (!reached) continue;
      cursor.append(draw("circle", { cx: x(time), cy: y(reached[1]), r: 4 }));
      told.push(`${one.name ? `${one.name} ` : ""}${one.text(reached[1])}`);
    }
    svg.append(cursor);
    write(this.#readout, told.join("   "));
  }

  #moveTo(time) {
    this.#cursor = time;
    this.#renderCursor();
  }

  #point(event) {
    if (!this.#scale) return;
    const place = event.clientX - this.#box.getBoundingClientRect().left;
    const { width, long } = this.#scale;
    this.#moveTo(this.#drawing.from + ((place - PAD.left) / (width - PAD.left - PAD.right)) * long);
  }

  #key(event) {
    if (!this.#scale || event.ctrlKey || event.metaKey || event.altKey) return;
    const { from, to } = this.#drawing;
    const step = this.#scale.long / 60;
    const here = this.#cursor ?? to;
    const targets = { ArrowLeft: here - step, ArrowRight: here + step, Home: from, End: to };
    if (!(event.key in targets)) return;
    event.preventDefault();
    this.#moveTo(Math.min(Math.max(targets[event.key], from), to));
  }
}

// The length between two marks on a time axis, at least so many seconds.
const TICKS_S = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 14_400, 21_600, 43_200, 86_400, 172_800];
export const everyOf = (seconds) => TICKS_S.find((one) => one >= seconds) ?? 604_800;
export const moneyAxis = (value) => (value === 0 ? "0" : money(value.toFixed(2), { signed: true }));
