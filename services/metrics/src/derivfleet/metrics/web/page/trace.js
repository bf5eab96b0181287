// One order: its facts, and its trace as a waterfall of the spans of bot and gateway.

import { at, contractOf, dateOf, doubtOf, durationOf, make, millis, money, plural, stateOf, timeOf, toneOf, toneOfState, write } from "./format.js";
import { ask } from "./service.js";

const PURCHASE = ["trade.decide", "trade.buy", "gateway.buy", "quota.wait", "deriv.call"];
const MEANING = {
  "trade": "One trade, from the tick to the bot's knowledge of its settlement",
  "trade.decide": "The strategy thinks",
  "trade.buy": "The bot waits for the gateway's answer",
  "trade.follow": "The bot waits for the settlement",
  "gateway.buy": "The gateway has the purchase",
  "quota.wait": "The call waits for its turn within the limits",
  "deriv.call": "The frame is at Deriv",
  "order.settle": "The contract runs",
};
const AGAIN_MS = 2000;
const MOST_TRIES = 30;

export class Trace {
  #id = "";
  #answer = null;
  #isWhole = false;
  #timer = 0;
  #tries = 0;

  constructor() {
    at("trace-purchase").addEventListener("click", () => this.#choose(false));
    at("trace-whole").addEventListener("click", () => this.#choose(true));
  }

  enter(id) {
    this.#id = id;
    this.#answer = null;
    this.#tries = 0;
    this.#clear(`Loading ${id} …`);
    this.#load();
  }

  leave() {
    this.#id = "";
    clearTimeout(this.#timer);
  }

  async #load() {
    const id = this.#id;
    try {
      const answer = await ask("api/order", { id });
      if (this.#id !== id) return;
      this.#answer = answer;
      this.#draw();
      // Spans come in a little after the order has settled.
      const isWhole = answer.trace.complete || ["denied", "rejected", "not_found"].includes(answer.order.state);
      this.#tries += 1;
      if (!isWhole && this.#tries < MOST_TRIES) this.#timer = setTimeout(() => this.#load(), AGAIN_MS);
    } catch (error) {
      if (this.#id === id && !this.#answer) this.#clear(error.message);
    }
  }

  #clear(message) {
    write(at("order-title"), "Order");
    write(at("order-state"), "");
    at("order-facts").replaceChildren();
    write(at("order-empty"), message);
    at("order-empty").hidden = false;
    at("trace-panel").hidden = true;
  }

  #choose(isWhole) {
    this.#isWhole = isWhole;
    at("trace-purchase").setAttribute("aria-pressed", String(!isWhole));
    at("trace-whole").setAttribute("aria-pressed", String(isWhole));
    if (this.#answer) this.#drawTrace(this.#answer.trace);
  }

  #draw() {
    const { order, trace } = this.#answer;
    at("order-empty").hidden = true;
    at("trace-panel").hidden = false;
    write(at("order-title"), `${contractOf(order)} ${order.symbol}, ${durationOf(order)}`);
    write(at("order-state"), [stateOf(order), order.error_code].filter(Boolean).join(" "), toneOfState(order));
    const profit = order.profit === null ? "–" : money(order.profit, { signed: true });
    const facts = [
      ["Profit", profit, order.profit === null ? "even" : toneOf(order.profit)],
      ["Stake", money(order.stake)],
      ["Bought for", money(order.buy_price)],
      ["Payout", money(order.payout)],
      ["Sold for", money(order.sell_price)],
      ["Bot", order.bot],
      ["Settled", order.settled_s ? `${dateOf(order.settled_s)} ${timeOf(order.settled_s)} UTC` : "not yet"],
      ["Contract", order.contract_id ? String(order.contract_id) : "none"],
      ["Order", order.order_id, "", ".id"],
      ["Trace", order.trace_id || "none", "", ".id"],
      ...(order.error_message ? [["Problem", order.error_message]] : []),
      ...(order.doubt ? [["Waits for you", `${doubtOf(order)}; decide with: derivfleet orders --unknown`, "loss"]] : []),
      ...(order.reconciled ? [["Reconciled", "its answer was lost; the account's records told what became of it"]] : []),
    ];
    at("order-facts").replaceChildren(...facts.map(([name, value, tone, kind = ""]) => make(`div${kind}`, {}, make("dt", {}, name), make("dd", tone ? { "data-tone": tone } : {}, value))));
    this.#drawTrace(trace);
  }

  #drawTrace(trace) {
    const { spans } = trace;
    at("trace-empty").hidden = spans.length > 0;
    write(at("trace-empty"), "No span of this order has arrived. Spans are kept for a week; a bot's come within seconds.");
    write(at("trace-note"), spans.length ? `${plural(spans.length, "span")}, ${trace.complete ? "complete" : "not complete"}` : "");
    at("trace-legend").hidden = spans.length === 0;
    const open = new Set([...at("trace").querySelectorAll("details[open]")].map((one) => one.dataset.index));
    const end = Math.max(0, ...spans.map((one) => one.from_ms + one.took_ms));
    const bought = Math.max(0, ...spans.filter((one) => PURCHASE.includes(one.name)).map((one) => one.from_ms + one.took_ms));
    const until = (this.#isWhole || !bought ? end : Math.min(end, bought * 1.08)) || 1;
    drawScale(until);
    const depth = [];
    at("trace").replaceChildren(...spans.map((one, index) => {
      depth[index] = one.parent === null ? 0 : depth[one.parent] + 1;
      return spanItem(one, index, depth[index], until, open.has(String(index)));
    }));
  }
}

function drawScale(until) {
  const rough = until / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((one) => one >= rough);
  const marks = [];
  for (let ms = 0; ms <= until; ms += step) {
    const mark = make("span", {}, ms === 0 ? "0" : step < 1000 ? `${Number(ms.toFixed(3))}\u202fms` : `${Number((ms / 1000).toFixed(2))}\u202fs`);
    mark.style.left = `${(100 * ms) / until}%`;
    marks.push(mark);
  }
  at("trace-scale").replaceChildren(...marks);
}

function spanItem(one, index, depth, until, isOpen) {
  const bar = make(`span.bar.${one.service === "bot" ? "bot" : "gateway"}${one.error_code ? ".failed" : ""}`);
  const from = Math.min(100, (100 * one.from_ms) / until);
  const to = Math.min(100, (100 * (one.from_ms + one.took_ms)) / until);
  bar.style.left = `${from}%`;
  bar.style.width = `${Math.max(0.3, to - from)}%`;
  const goesOn = one.from_ms + one.took_ms > until * 1.0001;
  bar.classList.toggle("goes-on", goesOn);
  const name = make("span.name", {}, one.name);
  name.style.paddingLeft = `${depth * 14}px`;
  const offset = `+${millis(one.from_ms)}`;
  const attributes = Object.entries(one.attributes);
  return make("li", {},
    make("details", { "data-index": index, ...(isOpen ? { open: "" } : {}) },
      make("summary", { title: MEANING[one.name] ?? "" },
        name,
        make("span.lane", {}, bar),
        make("span.took", {}, make("b", {}, millis(one.took_ms)), make("small", {}, one.service), goesOn ? make("span.unseen", {}, " goes on beyond this part") : "")),
      make("dl.attributes", {},
        fact("began", offset), fact("service", one.service),
        ...(one.error_code ? [fact("error", one.error_code)] : []),
        ...attributes.map(([key, value]) => fact(key.replaceAll("_", " "), value)))));
}

const fact = (name, value) => make("div", {}, make("dt", {}, name), make("dd", {}, value));
