// Reports: a period of five minutes, an hour or a day, against the one before it, and the last fourteen in a row.

import { Chart, everyOf, moneyAxis, moneyPoints } from "./chart.js";
import { at, count, dateOf, dayOf, make, millis, minuteOf, minus, money, percent, plural, signOf, timeOf, toneOf, write } from "./format.js";
import { showLegend } from "./overview.js";
import { ask } from "./service.js";
import { showTimes } from "./times.js";

const AGAIN_MS = { 300: 5000, 3600: 10_000, 86400: 20_000 };
const AFTER_ERROR_MS = 5000;
const KINDS = { 300: "window", 3600: "hour", 86400: "day" };
const NAMES = { 300: "five minutes", 3600: "hour", 86400: "day" };
const THIS = { 300: "these five minutes", 3600: "this hour", 86400: "this day" };
const RUNS = { 300: "five-minute periods", 3600: "hours", 86400: "days" };
const BEFORE = { 300: "the five before", 3600: "the hour before", 86400: "the day before" };

export class Reports {
  #curve = new Chart(at("profit-curve"), at("profit-curve-read"));
  #period = 300;
  #start = 0; // 0 follows the running period
  #shown = null;
  #nowS = 0;
  #timer = 0;
  #busy = null;
  #currency = "";

  constructor() {
    for (const button of document.querySelectorAll("[data-period]")) {
      button.addEventListener("click", () => this.#go(Number(button.dataset.period), this.#start && this.#shown ? this.#shown.report.start_epoch_s : 0));
    }
    at("report-earlier").addEventListener("click", () => this.step(-1));
    at("report-later").addEventListener("click", () => this.step(1));
    at("report-latest").addEventListener("click", () => this.#go(this.#period, 0));
  }

  enter(period, start) {
    this.#period = NAMES[period] ? Number(period) : 300;
    this.#start = Math.max(0, Number(start) || 0);
    this.#shown = null;
    for (const button of document.querySelectorAll("[data-period]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.period) === this.#period));
    }
    at("report-latest").setAttribute("aria-pressed", String(this.#start === 0));
    at("reports").setAttribute("aria-busy", "true");
    if (at("report-title").textContent === "Report") write(at("report-title"), "Loading …");
    this.#load();
  }

  leave() {
    clearTimeout(this.#timer);
    this.#busy?.abort();
  }

  show(snapshot) {
    this.#nowS = snapshot.time_s;
    this.#currency = snapshot.account.currency;
  }

  step(by) {
    if (!this.#shown) return;
    const { start_epoch_s: start, end_epoch_s: end } = this.#shown.report;
    if (by > 0 && end > this.#nowS) return;
    // Any instant names its period; the next one that is still running is followed.
    const next = by > 0 ? end : Math.max(1, start - 1);
    this.#go(this.#period, by > 0 && end + (end - start) > this.#nowS ? 0 : next);
  }

  #go(period, start) {
    location.hash = `#/reports/${period}${start ? `/${start}` : ""}`;
  }

  async #load() {
    clearTimeout(this.#timer);
    this.#busy?.abort();
    const busy = new AbortController();
    this.#busy = busy;
    const options = { signal: busy.signal };
    try {
      const kind = KINDS[this.#period];
      const query = { kind, at: this.#start || null };
      const [report, profits] = await Promise.all([ask("api/report", query, options), ask("api/course", query, options)]);
      const known = this.#shown?.before;
      const isKnown = known?.end_epoch_s === report.start_epoch_s && known.filled_to_epoch_s >= known.end_epoch_s;
      const before = isKnown ? known : await ask("api/report", { kind, at: Math.max(1, report.start_epoch_s - 1) }, options);
      this.#shown = { report, before, profits };
      write(at("report-problem"), "");
      this.#draw();
      at("reports").removeAttribute("aria-busy");
      // A period is filled while it runs, and a little longer, by what comes late.
      if (report.filled_to_epoch_s < report.end_epoch_s || this.#start === 0) this.#timer = setTimeout(() => this.#load(), AGAIN_MS[this.#period]);
    } catch (error) {
      if (error.name === "AbortError") return;
      write(at("report-problem"), `${error.message} It is asked again.`);
      this.#timer = setTimeout(() => this.#load(), AFTER_ERROR_MS);
    }
  }

  #draw() {
    const { report, before, profits } = this.#shown;
    write(at("report-title"), titleOf(report, this.#period));
    at("report-later").disabled = report.end_epoch_s > this.#nowS;
    drawTiles(report, before, this.#currency);
    const { text, tone } = completenessOf(report);
    write(at("report-completeness"), text, tone);
    this.#drawCurve(report, profits);
    drawRow(profits, this.#period, report);
    drawBots(report, before);
    write(at("report-bots-note"), `change against ${BEFORE[this.#period]}`);
    showTimes(at("report-times"), Object.fromEntries(report.fleet.phases.map((one) => [one.phase, one])));
    drawQuota(report);
  }

  #drawCurve(report, profits) {
    const period = this.#period;
    const start = report.start_epoch_s;
    const long = report.end_epoch_s - start;
    const done = Math.min(long, Math.max(0, report.filled_to_epoch_s - start));
    const unit = this.#currency;
    const text = (v) => `${money(v.toFixed(2), { signed: true })} ${unit}`;
    const label = `Profit of ${THIS[period]} against ${BEFORE[period]}`;
    write(at("profit-curve-title"), label);
    // The report was made a moment after the curve: one figure for one thing.
    const [latest, earlier] = [report.fleet.profit, profits.before.at(-1)?.[1] ?? "0"];
    showLegend(at("profit-curve-legend"), [["money", THIS[period], money(latest, { signed: true })], ["before", BEFORE[period], money(earlier, { signed: true })]]);
    this.#curve.show({
      label: `${label}: ${money(latest, { signed: true })} and ${money(earlier, { signed: true })} ${unit}`,
      empty: "Nothing settled in either period.",
      from: 0,
      to: long,
      series: [
        { name: THIS[period], kind: "money", points: profits.course.length ? moneyPoints(profits.course, 0, Math.max(done, profits.course.at(-1)[0])) : [], text },
        { name: BEFORE[period], kind: "before", stepped: true, points: profits.before.length ? moneyPoints(profits.before, 0, long) : [], text },
      ],
      value: moneyAxis,
      every: everyOf,
      tick: (t, every) => (every < 60 ? timeOf : minuteOf)(start + t, report.time_zone),
      at: (t) => `${(period > 3600 ? minuteOf : timeOf)(start + t, report.time_zone)} ${report.time_zone}`,
    });
  }
}

function titleOf(report, period) {
  const { start_epoch_s: start, end_epoch_s: end, time_zone: zone } = report;
  return period === 86_400 ? dateOf(start, zone) : `${dateOf(start, zone)}, ${minuteOf(start, zone)}–${minuteOf(end, zone)} ${zone}`;
}

function drawTiles(report, before, unit) {
  const [now, then] = [report.fleet, before.fleet];
  const tiles = [
    ["Profit", now.settled ? money(now.profit, { signed: true }) : "–", `${unit}, before ${then.settled ? money(then.profit, { signed: true }) : "–"}`, toneOf(now.profit)],
    ["Settled", count(now.settled), `before ${count(then.settled)}`, "even"],
    ["Win rate", now.settled ? percent(now.win_rate, 1) : "–", `before ${then.settled ? percent(then.win_rate, 1) : "–"}`, "even"],
    ["Staked", money(now.staked), `before ${money(then.staked)}`, "even"],
    ["Refused by Deriv", count(report.rejected_by_deriv), "calls, for their rate", report.rejected_by_deriv ? "loss" : "even"],
  ];
  const box = at("report-tiles");
  if (box.children.length === 0) {
    box.append(...tiles.map(([name], index) => make(`div.tile${index ? "" : ".lead"}`, {}, make("h3", {}, name), make("p.figure"), make("p.note"))));
  }
  tiles.forEach(([, figure, note, tone], index) => {
    const [, shown, under] = box.children[index].children;
    write(shown, figure, tone);
    write(under, note);
  });
}

function completenessOf(report) {
  const { completeness: seen, start_epoch_s: start, end_epoch_s: end, filled_to_epoch_s: filled, time_zone: zone } = report;
  const parts = [];
  let tone = "gain";
  if (seen.orders_unknown) {
    tone = "warn";
    const waits = seen.orders_doubtful ? `; ${count(seen.orders_doubtful)} of them ${seen.orders_doubtful === 1 ? "waits" : "wait"} for you` : "";
    parts.push(`Of ${plural(seen.orders_unknown, "order")} (staked ${money(seen.staked_unknown)}) nobody knows yet whether it bought${waits}.`);
  }
  if (filled >= end) parts.push(seen.orders_unknown ? "All else of this period is here." : "Everything of this period is here.");
  else if (seen.feed_connected) parts.push(filled > start ? `The period runs; it is filled up to ${timeOf(filled, zone)} ${zone}.` : "Nothing of this period has come in yet.");
  else {
    tone = "loss";
    parts.push(`The order feed is cut; this report is filled up to ${timeOf(Math.max(start, filled), zone)} ${zone}.`);
  }
  const untraced = seen.orders_in_feed - seen.orders_traced;
  if (untraced) {
    tone = tone === "gain" ? "warn" : tone;
    parts.push(`${plural(untraced, "settled order")} of ${count(seen.orders_in_feed)} without a trace (${money(seen.profit_untraced, { signed: true })}): the money counts here, the times do not.`);
  } else if (seen.orders_in_feed) parts.push(`All ${plural(seen.orders_in_feed, "settled order")} are traced.`);
  if (seen.traces_without_order) {
    tone = tone === "gain" ? "warn" : tone;
    parts.push(`${plural(seen.traces_without_order, "trace")} without an order on the feed.`);
  }
  return { text: parts.join(" "), tone };
}

function drawRow(profits, period, report) {
  const shown = report.start_epoch_s;
  const periods = profits.periods.map((one) => (one.start_s === shown ? { ...one, profit: report.fleet.profit } : one));
  const whole = Math.max(0.01, ...periods.map((one) => Math.abs(Number(one.profit))));
  const nameOf = period === 86_400 ? dayOf : minuteOf;
  const first = Math.max(0, periods.findIndex((one) => one.settled > 0));
  const known = periods.slice(periods.some((one) => one.settled > 0) ? first : -1);
  write(at("row-title"), known.length > 1 ? `The last ${count(known.length)} ${RUNS[period]}` : `The latest ${NAMES[period]}`);
  at("row").replaceChildren(...[...known].reverse().map((one) => {
    const bar = make("span.fill", { "data-tone": toneOf(one.profit) });
    const size = (50 * Math.abs(Number(one.profit))) / whole;
    bar.style.width = `${size}%`;
    bar.style.left = signOf(one.profit) < 0 ? `${50 - size}%` : "50%";
    const link = make("a", { href: `#/reports/${period}/${one.start_s}`, title: `${plural(one.settled, "settled order")}, ${plural(one.wins, "win")}` },
      make("span.name", {}, nameOf(one.start_s, report.time_zone)), make("span.bar-lane", {}, bar),
      make("span.value", { "data-tone": one.settled ? toneOf(one.profit) : "even" }, one.settled ? money(one.profit, { signed: true }) : "–"));
    if (one.start_s === shown) link.setAttribute("aria-current", "true");
    return make("li", {}, link);
  }));
}

const COLUMNS = ["Bot", "Profit", "Change", "Settled", "Win rate", "Staked", "Calls", "Buy p50", "Buy p99", "Errors"];

function drawBots(report, before) {
  const table = at("report-bots");
  if (!table.tHead.children.length) {
    table.tHead.append(make("tr", {}, ...COLUMNS.map((name, index) => make(`th${index ? ".number" : ""}`, { scope: "col" }, name))));
  }
  const old = new Map(before.bots.map((bot) => [bot.bot, bot]));
  table.tBodies[0].replaceChildren(...report.bots.map((bot) => botRow(bot, old.get(bot.bot))));
  table.tFoot.replaceChildren(botRow({ ...report.fleet, bot: "Fleet" }, before.fleet));
}

function botRow(bot, old) {
  const change = minus(bot.profit, old?.profit ?? "0");
  const buy = bot.phases.find((one) => one.phase === "buy");
  const errors = bot.errors.reduce((sum, one) => sum + one.count, 0);
  return make("tr", {},
    make("th", { scope: "row" }, bot.bot),
    make("td.number", { "data-tone": bot.settled ? toneOf(bot.profit) : "even" }, bot.settled ? money(bot.profit, { signed: true }) : "–"),
    make("td.number.change", {}, signOf(change) ? `${signOf(change) > 0 ? "▲" : "▼"} ${money(change.replace("-", ""))}` : "="),
    make("td.number", {}, count(bot.settled)),
    make("td.number", {}, bot.settled ? percent(bot.win_rate) : "–"),
    make("td.number", {}, money(bot.staked)),
    make("td.number", {}, count(bot.ops)),
    make("td.number", {}, millis(buy?.p50_ms)),
    make("td.number", {}, millis(buy?.p99_ms)),
    make("td.number", { "data-tone": errors ? "warn" : "even", title: bot.errors.map((one) => `${one.code}: ${one.count}`).join("\n") }, errors ? count(errors) : "–"));
}

function drawQuota(report) {
  if (report.quota.length === 0) {
    at("report-quota").replaceChildren(make("p.empty", {}, "The limits are not known for this period."));
    return;
  }
  at("report-quota").replaceChildren(...report.quota.map((one) => {
    const fill = make("span.fill", { "data-tone": one.share_of_limit >= 0.95 ? "loss" : one.share_of_limit >= 0.75 ? "warn" : "calm" });
    fill.style.width = `${Math.min(100, 100 * one.share_of_limit)}%`;
    const value = `${count(one.calls)} calls, ${percent(one.share_of_limit, 1)}`;
    return make("div.window", {}, make("span.name", {}, one.bucket),
      make("div.meter", { role: "meter", "aria-label": `${one.bucket} in this period`, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(100 * one.share_of_limit), "aria-valuetext": value }, fill),
      make("span.value", {}, make("b", {}, percent(one.share_of_limit, 1)), ` ${count(one.calls)}`));
  }));
}
