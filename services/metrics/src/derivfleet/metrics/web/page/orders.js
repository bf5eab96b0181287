// Every order the store knows, searched by id, bot, symbol and state; the newest page follows the live feed.

import { at, contractOf, count, doubtOf, durationOf, make, money, plural, stateOf, toneOf, toneOfState, whenOf, write } from "./format.js";
import { keep, keyOf, orderLink } from "./overview.js";
import { ask } from "./service.js";

const PAGE = 50;
const FOLLOW_MS = 2000;
const TYPING_MS = 250;
const FIELDS = ["text", "bot", "symbol", "state"];

export class Orders {
  #shown = [];
  #before = null;
  #nowS = 0;
  #newest = "";
  #asked = 0;
  #busy = null;
  #typing = 0;
  #open = false;

  constructor() {
    const form = at("orders-form");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#go();
    });
    form.addEventListener("input", (event) => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#go(), event.target.tagName === "SELECT" ? 0 : TYPING_MS);
    });
    form.addEventListener("reset", () => {
      location.hash = "#/orders";
    });
    at("orders-more").addEventListener("click", () => this.#load(this.#before));
  }

  search() {
    at("orders-text").focus();
  }

  clear() {
    if (FIELDS.some((field) => at(`orders-${field}`).value)) location.hash = "#/orders";
  }

  enter(query) {
    this.#open = true;
    for (const field of FIELDS) {
      const value = query.get(field) ?? "";
      const input = at(`orders-${field}`);
      // A value that is no option (yet) must not fall back to "all" in silence.
      if (input.tagName === "SELECT" && value && ![...input.options].some((one) => one.value === value)) input.append(make("option", { value }, value));
      if (input.value !== value) input.value = value;
    }
    this.#load(null);
  }

  leave() {
    this.#open = false;
    this.#busy?.abort();
  }

  show(snapshot) {
    this.#nowS = snapshot.time_s;
    offer(at("orders-bot"), snapshot.bots.map((bot) => bot.bot));
    offer(at("orders-symbol"), [...new Set(snapshot.bots.flatMap((bot) => bot.symbols))].sort());
    const newest = snapshot.orders[0] ? keyOf(snapshot.orders[0]) : "";
    const isOnFirstPage = this.#shown.length <= PAGE;
    if (this.#open && isOnFirstPage && newest !== this.#newest && performance.now() - this.#asked > FOLLOW_MS) {
      this.#newest = newest;
      this.#load(null, true);
    }
  }

  #go() {
    const given = FIELDS.map((field) => [field, at(`orders-${field}`).value.trim()]).filter(([, value]) => value);
    const hash = given.length ? `#/orders?${new URLSearchParams(given)}` : "#/orders";
    history.replaceState(null, "", hash);
    this.#load(null);
  }

  async #load(before, flash = false) {
    this.#busy?.abort();
    const busy = new AbortController();
    this.#busy = busy;
    this.#asked = performance.now();
    const query = Object.fromEntries(FIELDS.map((field) => [field, at(`orders-${field}`).value.trim()]));
    at("orders-table").setAttribute("aria-busy", "true");
    try {
      const answer = await ask("api/orders", { ...query, before, limit: PAGE }, { signal: busy.signal });
      this.#shown = before === null ? answer.orders : [...this.#shown, ...answer.orders];
      this.#before = answer.before;
      this.#draw(Object.values(query).some(Boolean), flash);
    } catch (error) {
      if (error.name === "AbortError") return;
      write(at("orders-note"), error.message, "loss");
    }
    at("orders-table").removeAttribute("aria-busy");
  }

  #draw(isFiltered, flash) {
    keep(at("orders-table").tBodies[0], this.#shown, keyOf, (order) => rowOf(order, this.#nowS || order.changed_s), flash);
    at("orders-more").hidden = this.#before === null;
    at("orders-empty").hidden = this.#shown.length > 0;
    write(at("orders-empty"), isFiltered ? "No order fits the search." : "No orders yet: the first one appears here by itself.");
    write(at("orders-note"), this.#before === null ? plural(this.#shown.length, "order") : `newest ${count(this.#shown.length)}`, "even");
  }
}

function offer(select, values) {
  const known = new Set([...select.options].map((one) => one.value));
  for (const value of values) if (!known.has(value)) select.append(make("option", { value }, value));
}

function rowOf(order, nowS) {
  const state = make("td.state", { "data-tone": toneOfState(order), title: order.doubt ? `${doubtOf(order)}: derivfleet orders --unknown` : order.error_message }, stateOf(order), order.error_code ? make("small", {}, ` ${order.error_code}`) : "", order.reconciled ? make("small", { title: "Its answer was lost; the account's records told" }, " reconciled") : "");
  return make("tr", {},
    make("td.time", {}, whenOf(order.changed_s, nowS)),
    make("td.who", {}, order.bot),
    make("td", {}, make("b", {}, contractOf(order)), make("small", {}, ` ${durationOf(order)}`)),
    make("td.symbol", {}, order.symbol),
    make("td.number.stake", {}, money(order.stake)),
    make("td.number.payout", {}, money(order.payout)),
    make("td.number.profit", { "data-tone": order.profit === null ? "even" : toneOf(order.profit) }, order.profit === null ? "–" : money(order.profit, { signed: true })),
    state,
    make("td.id", {}, make("a", { href: orderLink(order) }, order.order_id)));
}
