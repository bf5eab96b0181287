// The profit curve and its small sisters. Steps, not slopes: money moves when an order settles and stands still between.

import { dayOf, draw, minuteOf, money, timeOf } from "./format.js";

const PAD = { top: 14, right: 14, bottom: 24, left: 56 };
const TICK_SPANS_S = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 172_800];

// [[time, "profit"], …] → points of a step line that begins at zero.
function stepsOf(curve, sinceS, nowS) {
  const points = [[sinceS, 0]];
  for (const [time, profit] of curve) {
    points.push([time, points.at(-1)[1]], [time, Number(profit)]);
  }
  points.push([nowS, points.at(-1)[1]]);
  return points;
}

const path = (points, x, y) =>
  points.map(([t, v], i) => `${i ? "L" : "M"}${x(t).toFixed(1)} ${y(v).toFixed(1)}`).join("");

function niceStep(range, most) {
  const rough = range / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 2.5, 5, 10].map((m) => m * power).find((step) => step >= rough);
}

export function sparkline(curve, nowS, width = 104, height = 26) {
  const svg = draw("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  if (curve.length === 0) return svg;
  const points = stepsOf(curve, Math.min(curve[0][0], nowS) - 1, nowS);
  const values = points.map(([, value]) => value);
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  const first = points[0][0];
  const x = (t) => 1 + ((width - 5) * (t - first)) / Math.max(1, nowS - first);
  const y = (v) => height - 3 - ((height - 6) * (v - low)) / Math.max(0.01, high - low);
  const tone = values.at(-1) > 0 ? "gain" : values.at(-1) < 0 ? "loss" : "even";
  svg.append(
    draw("line", { class: "zero", x1: 0, x2: width, y1: y(0), y2: y(0) }),
    draw("path", { class: `line ${tone}`, d: path(points, x, y) }),
    draw("circle", { class: `end ${tone}`, cx: x(nowS), cy: y(values.at(-1)), r: 2 }),
  );
  return svg;
}

export class ProfitChart {
  #box;
  #readout;
  #curve = [];
  #sinceS = null;
  #nowS = 0;
  #currency = "";
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

  show(curve, sinceS, nowS, currency, label) {
    this.#curve = curve;
    this.#sinceS = sinceS;
    this.#nowS = nowS;
    this.#currency = currency;
    const last = curve.at(-1);
    this.#box.setAttribute(
      "aria-label",
      last ? `${label}: ${money(last[1], { signed: true })} ${currency} since ${timeOf(sinceS)} UTC` : `${label}: nothing settled yet`,
    );
    this.#render();
  }

  #render() {
    const { clientWidth: width, clientHeight: height } = this.#box;
    if (!width || !height) return;
    if (this.#curve.length === 0) {
      this.#scale = null;
      this.#box.replaceChildren(emptyNote("The curve begins with the first settled order."));
      return;
    }
    const points = stepsOf(this.#curve, this.#sinceS, this.#nowS);
    const values = points.map(([, value]) => value);
    const step = niceStep(Math.max(0.4, Math.max(0, ...values) - Math.min(0, ...values)), height < 220 ? 3 : 5);
    const low = Math.floor(Math.min(0, ...values) / step) * step;
    const high = Math.max(Math.ceil(Math.max(0, ...values) / step) * step, low + step);
    const seconds = Math.max(1, this.#nowS - this.#sinceS);
    const x = (t) => PAD.left + ((width - PAD.left - PAD.right) * (t - this.#sinceS)) / seconds;
    const y = (v) => height - PAD.bottom - ((height - PAD.top - PAD.bottom) * (v - low)) / (high - low);
    this.#scale = { x, y, width, height, seconds };

    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
    svg.append(gradients(y(0)));
    for (let value = low; value <= high + step / 2; value += step) {
      const at = y(value);
      const zero = Math.abs(value) < step / 2;
      svg.append(draw("line", { class: zero ? "zero" : "grid", x1: PAD.left, x2: width - PAD.right, y1: at, y2: at }));
      const text = money(value.toFixed(2), { signed: true });
      svg.append(draw("text", { class: "axis", x: PAD.left - 8, y: at + 4, "text-anchor": "end" }, zero ? "0" : text));
    }
    const every = TICK_SPANS_S.find((one) => seconds / one <= Math.max(2, width / 110)) ?? 604_800;
    const label = every < 60 ? timeOf : every < 86_400 ? minuteOf : dayOf;
    for (let t = Math.ceil(this.#sinceS / every) * every; t <= this.#nowS; t += every) {
      if (x(t) < PAD.left + 14 || x(t) > width - PAD.right - 14) continue;
      svg.append(draw("text", { class: "axis", x: x(t), y: height - 6, "text-anchor": "middle" }, label(t)));
    }
    const line = path(points, x, y);
    const area = `${line}L${x(this.#nowS)} ${y(0)}L${x(this.#sinceS)} ${y(0)}Z`;
    const end = values.at(-1);
    for (const side of ["gain", "loss"]) {
      svg.append(
        draw("path", { class: `area ${side}`, d: area, "clip-path": `url(#${side}-half)` }),
        draw("path", { class: `line ${side}`, d: line, "clip-path": `url(#${side}-half)` }),
      );
    }
    const tone = end > 0 ? "gain" : end < 0 ? "loss" : "even";
    svg.append(
      draw("circle", { class: `halo ${tone}`, cx: x(this.#nowS), cy: y(end), r: 9 }),
      draw("circle", { class: `end ${tone}`, cx: x(this.#nowS), cy: y(end), r: 4 }),
    );
    this.#box.replaceChildren(svg);
    this.#renderCursor();
  }

  #renderCursor() {
    const svg = this.#box.querySelector("svg");
    svg?.querySelector(".cursor")?.remove();
    if (!svg || !this.#scale || this.#cursor === null) {
      this.#readout.textContent = "";
      return;
    }
    const { x, y, height } = this.#scale;
    const time = Math.min(Math.max(this.#cursor, this.#sinceS), this.#nowS);
    const before = this.#curve.filter(([end]) => end <= time).at(-1);
    const profit = before ? before[1] : "0";
    svg.append(
      draw("g", { class: "cursor" },
        draw("line", { x1: x(time), x2: x(time), y1: PAD.top, y2: height - PAD.bottom }),
        draw("circle", { cx: x(time), cy: y(Number(profit)), r: 4 })),
    );
    this.#readout.textContent = `${timeOf(time)} UTC  ${money(profit, { signed: true })} ${this.#currency}`;
  }

  #moveTo(time) {
    this.#cursor = time;
    this.#renderCursor();
  }

  #point(event) {
    if (!this.#scale) return;
    const at = event.clientX - this.#box.getBoundingClientRect().left;
    const { width, seconds } = this.#scale;
    this.#moveTo(this.#sinceS + ((at - PAD.left) / (width - PAD.left - PAD.right)) * seconds);
  }

  #key(event) {
    if (!this.#scale) return;
    const step = this.#scale.seconds / 60;
    const from = this.#cursor ?? this.#nowS;
    const targets = { ArrowLeft: from - step, ArrowRight: from + step, Home: this.#sinceS, End: this.#nowS };
    if (!(event.key in targets)) return;
    event.preventDefault();
    this.#moveTo(Math.min(Math.max(targets[event.key], this.#sinceS), this.#nowS));
  }
}

function gradients(zero) {
  const half = (id, y, height) =>
    draw("clipPath", { id }, draw("rect", { x: 0, y, width: 10_000, height: Math.max(0, height) }));
  return draw("defs", {}, half("gain-half", -10, zero + 10), half("loss-half", zero, 10_000));
}

function emptyNote(text) {
  const note = document.createElement("p");
  note.className = "empty";
  note.textContent = text;
  return note;
}
