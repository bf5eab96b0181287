// The live page: what the fleet earns, how full the limits are, each bot, the last orders.

import { BotTable } from "./bots.js";
import { Chart, everyOf, moneyAxis, moneyPoints } from "./chart.js";
import { at, contractOf, count, dayOf, draw, durationOf, isNews, make, minuteOf, money, percent, plural, span, stateOf, timeOf, toneOf, toneOfState, write } from "./format.js";
import { isStale, showQuota } from "./limits.js";
import { completenessOf, showTimes } from "./times.js";

const MOST_ORDERS = 14;
const tick = (t, every) => (every < 60 ? timeOf : every < 86_400 ? minuteOf : dayOf)(t);
const atTime = (t) => `${timeOf(t)} UTC`;

export class Overview {
  #profit = new Chart(at("curve"), at("curve-read"));
  #usage = new Chart(at("usage"), at("usage-read"));
  #table = new BotTable(at("bots"), (bot) => this.pick(bot === this.#picked ? "" : bot));
  #picked = "";
  #latest = null;

  constructor() {
    for (const name of ["bots-text", "bots-state"]) at(name).addEventListener("input", () => this.#filter());
  }

  pick(bot) {
    this.#picked = bot;
    if (this.#latest) this.show(this.#latest);
  }

  // Escape: first the picked bot, then the filter.
  clear() {
    at("bots-text").value = "";
    at("bots-state").value = "";
    this.#filter();
    this.pick("");
  }

  search() {
    at("bots-text").focus();
  }

  show(snapshot) {
    this.#latest = snapshot;
    const bot = snapshot.bots.find((one) => one.bot === this.#picked);
    const shown = bot ?? snapshot;
    showTiles(snapshot);
    const title = bot ? `Profit of ${bot.bot}` : "Profit over time";
    write(at("curve-title"), title);
    this.#profit.show(profitDrawing(shown, snapshot, title));
    this.#usage.show(usageDrawing(snapshot));
    showQuota(at("quota"), at("quota-note"), snapshot, this.#picked);
    this.#table.show(snapshot, this.#picked);
    this.#filter();
    this.#showOrders(snapshot);
    const recent = bot ? ` of ${bot.bot}` : ` of the last ${span(snapshot.window_s)}`;
    showTimes(at("times"), shown.recent.phases);
    write(at("times-note"), `p50, p95, p99${recent}`);
    const { text, tone } = completenessOf(snapshot);
    write(at("completeness"), text, tone);
  }

  #filter() {
    const [shown, all] = this.#table.filter(at("bots-text").value, at("bots-state").value);
    const parts = [shown < all ? `${count(shown)} of ${count(all)}` : "", this.#picked ? "Esc shows all again" : ""];
    write(at("bots-note"), parts.filter(Boolean).join(", "));
    at("bots-empty").hidden = shown > 0;
    write(at("bots-empty"), all ? "No bot fits the filter." : "The fleet has no bots.");
  }

  #showOrders(snapshot) {
    const orders = snapshot.orders.filter((order) => !this.#picked || order.bot === this.#picked).slice(0, MOST_ORDERS);
    write(at("last-title"), this.#picked ? `Last orders of ${this.#picked}` : "Last orders");
    at("last-all").href = this.#picked ? `#/orders?bot=${encodeURIComponent(this.#picked)}` : "#/orders";
    if (orders.length === 0) {
      at("last").replaceChildren(make("li.empty", {}, this.#picked ? "None among the last ones of the fleet." : "No orders yet."));
      return;
    }
    keep(at("last"), orders, keyOf, orderItem);
  }
}

// Show items in order, and make only those that are new: what stands still keeps its element, its focus and its title.
// `flash` marks what has come since.
export function keep(list, items, keyOf, makeItem, flash = true) {
  const known = new Map([...list.children].filter((one) => one.dataset.key).map((one) => [one.dataset.key, one]));
  const marks = flash && known.size > 0;
  const elements = items.map((item) => {
    const key = keyOf(item);
    const old = known.get(key);
    if (old) {
      old.classList.remove("fresh");
      return old;
    }
    const element = makeItem(item);
    element.dataset.key = key;
    element.classList.toggle("fresh", marks);
    return element;
  });
  const wanted = new Set(elements);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((element, index) => {
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
  });
}

// What an item shows changes with these.
export const keyOf = (order) => `${order.order_id} ${stateOf(order)}`;
export const orderLink = (order) => `#/order/${encodeURIComponent(order.order_id)}`;

function orderItem(order) {
  const outcome = order.state === "settled"
    ? make("span.outcome", { "data-tone": toneOf(order.profit) }, money(order.profit, { signed: true }))
    : make("span.outcome.state", { "data-tone": toneOfState(order), title: order.error_code }, stateOf(order));
  return make("li", {},
    make("a.order", { href: orderLink(order), title: [order.order_id, order.error_message].filter(Boolean).join("\n") },
      make("time", {}, timeOf(order.changed_s)),
      make("span.who", {}, order.bot),
      make("span.what", {}, make("b", {}, contractOf(order)), ` ${order.symbol} `, make("small", {}, durationOf(order))),
      make("span.stake", {}, money(order.stake)),
      outcome));
}

function profitDrawing(shown, snapshot, title) {
  const { since_s: from, profit, settled } = shown.total;
  const unit = snapshot.account.currency;
  return {
    label: settled ? `${title}: ${money(profit, { signed: true })} ${unit} since ${timeOf(from)} UTC` : `${title}: nothing settled yet`,
    empty: "The curve begins with the first settled order.",
    from: from ?? 0,
    to: snapshot.time_s,
    series: shown.curve.length
      ? [{ kind: "money", points: moneyPoints(shown.curve, from, snapshot.time_s), text: (v) => `${money(v.toFixed(2), { signed: true })} ${unit}` }]
      : [],
    value: moneyAxis,
    every: everyOf,
    tick,
    at: atTime,
  };
}

const BUCKETS = ["trade", "money", "lists", "other"];

function usageDrawing(snapshot) {
  const names = Object.keys(snapshot.usage).sort((a, b) => BUCKETS.indexOf(a) - BUCKETS.indexOf(b));
  const kindOf = (name) => `bucket-${Math.max(0, BUCKETS.indexOf(name)) + 1}`;
  const all = names.flatMap((name) => snapshot.usage[name]);
  const most = Math.max(0, ...all.map(([, share]) => share));
  const stop = Math.min(1, ...snapshot.gateway.quota.map((one) => (one.deriv_limit ? one.limit / one.deriv_limit : 1)));
  showLegend(at("usage-legend"), names.map((name) => [kindOf(name), name, percent(snapshot.usage[name].at(-1)?.[1])]));
  return {
    label: `Use of the call limits: ${names.map((name) => `${name} ${percent(snapshot.usage[name].at(-1)?.[1])}`).join(", ") || "none yet"}`,
    empty: "No call has been counted yet.",
    from: Math.min(snapshot.time_s - 30, ...all.map(([time]) => time)),
    to: snapshot.time_s,
    low: 0,
    high: most > 0.5 ? 1 : most > 0.2 ? 0.5 : 0.2,
    marks: most > 0.5 ? [stop] : [],
    series: names.map((name) => ({ name, kind: kindOf(name), points: snapshot.usage[name], text: (v) => percent(v, 1) })),
    value: (v) => percent(v),
    every: everyOf,
    tick,
    at: atTime,
  };
}

// A piece of the line itself: its dashes tell as much as its colour.
const sampleOf = (kind) =>
  draw("svg", { class: "key", viewBox: "0 0 24 8", width: 24, height: 8, "aria-hidden": "true" }, draw("line", { class: `line ${kind}`, x1: 0, x2: 24, y1: 4, y2: 4 }));

export function showLegend(list, entries) {
  if (isNews(list, entries)) list.replaceChildren(...entries.map(([kind, name, value]) => make("li", {}, sampleOf(kind), `${name} `, make("b", {}, value))));
}

function showTiles(snapshot) {
  const { account, gateway, recent, total, window_s } = snapshot;
  const unit = account.currency;
  write(at("profit"), total.settled ? money(total.profit, { signed: true }) : "–", toneOf(total.profit));
  write(at("profit-note"), total.since_s === null ? "nothing settled yet" : `${unit} since ${timeOf(total.since_s)} UTC`);
  write(at("balance"), money(account.balance));
  write(at("balance-note"), account.balance && isStale(snapshot) ? `${unit}, ${span(gateway.status_age_s)} old` : unit);
  write(at("win-rate"), percent(total.win_rate, 1));
  write(at("win-note"), `${count(total.wins)} of ${count(total.settled)} settled`);
  write(at("open"), count(total.open), total.doubtful ? "loss" : total.unknown ? "warn" : "even");
  const unknown = total.doubtful ? `${count(total.doubtful)} ${total.doubtful === 1 ? "waits" : "wait"} for you` : `${count(total.unknown)} unknown`;
  write(at("open-note"), total.unknown ? unknown : `${plural(recent.buys, "purchase")} in ${span(window_s)}`);
  const refused = gateway.rejected_by_deriv;
  write(at("refused"), refused === null ? "–" : count(refused), refused ? "loss" : "even");
  write(at("refused-note"), "calls, for their rate");
}
