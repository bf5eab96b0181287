// The panels beside the table: where the time goes, the last orders, and what was not seen.

import { make, millis, money, plural, span, timeOf, toneOf, write } from "./format.js";

const PHASES = [
  ["decide", "Bot decides", "The strategy thinks (trade.decide)"],
  ["queue", "Waits for quota", "A call waits for its turn (quota.wait)"],
  ["upstream", "At Deriv", "The purchase is at Deriv (deriv.call)"],
  ["buy", "Bot waits", "From the bot's call to the gateway's answer (trade.buy)"],
  ["settle", "Contract runs", "From the purchase to its settlement (order.settle)"],
];
const LOW_MS = 0.05;
const HIGH_MS = 60_000;
const SCALE = [[0.1, "0.1 ms"], [1, "1 ms"], [10, "10 ms"], [100, "0.1 s"], [1000, "1 s"], [10_000, "10 s"]];
const place = (ms) =>
  (100 * Math.log(Math.min(Math.max(ms, LOW_MS), HIGH_MS) / LOW_MS)) / Math.log(HIGH_MS / LOW_MS);

export function showTimes(box, recent) {
  const seen = PHASES.filter(([phase]) => recent.phases[phase]);
  if (seen.length === 0) {
    box.replaceChildren(make("p.empty", {}, "No traces in this time."));
    return;
  }
  box.replaceChildren(
    ...seen.map(([phase, name, explained]) => {
      const one = recent.phases[phase];
      const bar = make("span.range");
      bar.style.left = `${place(one.p50_ms)}%`;
      bar.style.width = `${Math.max(1.2, place(one.p99_ms) - place(one.p50_ms))}%`;
      const tick = make("span.tick");
      tick.style.left = `${place(one.p95_ms)}%`;
      return make("div.phase", { title: `${explained}, ${plural(one.count, "time")}` },
        make("span.name", {}, name),
        make("span.value", {}, make("b", {}, millis(one.p50_ms)), `  ${millis(one.p95_ms)}  ${millis(one.p99_ms)}`),
        make("div.track", {}, bar, tick));
    }),
    make("p.scale", { "aria-hidden": "true" }, ...SCALE.map(scaleMark)),
  );
}

function scaleMark([ms, text]) {
  const mark = make("span", {}, text);
  mark.style.left = `${place(ms)}%`;
  return mark;
}

const WORDS = {
  CALL: "Rise", PUT: "Fall", CALLE: "Rise or equal", PUTE: "Fall or equal", DIGITMATCH: "Matches",
  DIGITDIFF: "Differs", DIGITOVER: "Over", DIGITUNDER: "Under", DIGITEVEN: "Even", DIGITODD: "Odd",
};
const UNITS = { t: "tick", s: "second", m: "minute", h: "hour", d: "day" };

export function showOrders(list, snapshot, picked) {
  const orders = snapshot.orders.filter((order) => !picked || order.bot === picked).slice(0, 14);
  if (orders.length === 0) {
    list.replaceChildren(make("li.empty", {}, picked ? `None of ${picked} among the last ones.` : "No orders yet."));
    return;
  }
  const known = new Set([...list.children].map((item) => item.dataset.key));
  list.replaceChildren(...orders.map((order) => orderItem(order, known)));
}

function orderItem(order, known) {
  const key = `${order.order_id} ${order.state}`;
  const what = [WORDS[order.contract_type] ?? order.contract_type, order.barrier].filter(Boolean).join(" ");
  const fresh = known.size > 0 && !known.has(key) ? ".fresh" : "";
  const item = make(`li.order${fresh}`, { "data-key": key, title: [order.order_id, order.error_message].filter(Boolean).join("\n") },
    make("time", {}, timeOf(order.changed_s)),
    make("span.who", {}, order.bot),
    make("span.what", {}, make("b", {}, what), ` ${order.symbol} `, make("small", {}, plural(order.duration, UNITS[order.duration_unit] ?? order.duration_unit))),
    make("span.stake", {}, money(order.stake)),
    outcome(order));
  return item;
}

function outcome(order) {
  if (order.state === "settled") {
    return make("span.outcome", { "data-tone": toneOf(order.profit) }, money(order.profit, { signed: true }));
  }
  const tones = { confirmed: "calm", sent: "calm", intended: "calm", unknown: "warn" };
  const words = { confirmed: "open", not_found: "not found" };
  const label = words[order.state] ?? order.state;
  return make("span.outcome.state", { "data-tone": tones[order.state] ?? "loss", title: order.error_code }, label);
}

// What the figures do not show, in words; nothing to hide, nothing to guess.
export function completenessOf(snapshot) {
  const { completeness: seen, gateway } = snapshot;
  const currency = snapshot.account.currency;
  const parts = [];
  const minutes = `the last ${span(snapshot.window_s)}`;
  let tone = "gain";
  if (!gateway.connected) {
    tone = "loss";
    parts.push(`The order feed has been cut for ${span(gateway.lag_s)} (${gateway.problem}): what has settled since is not here. It is being tried again.`);
  } else if (gateway.lag_s > 0) {
    tone = "warn";
    parts.push(`The order feed is catching up, ${span(gateway.lag_s)} behind.`);
  } else {
    parts.push(`Every order is here: the feed is live, ${plural(seen.orders_in_feed, "order")} settled in ${minutes}.`);
  }
  const untraced = seen.orders_in_feed - seen.orders_traced;
  if (untraced > 0) {
    tone = tone === "gain" ? "warn" : tone;
    parts.push(`${plural(untraced, "settled order")} without a trace yet (${money(seen.profit_untraced, { signed: true })} ${currency}): the money counts here, the times do not.`);
  } else if (seen.orders_in_feed > 0) {
    parts.push("All settled orders are traced.");
  }
  if (seen.traces_without_order) parts.push(`${plural(seen.traces_without_order, "trace")} without an order on the feed.`);
  if (seen.events_refused) parts.push(`${plural(seen.events_refused, "event")} of the feed could not be read.`);
  if (seen.spans_refused) parts.push(`${plural(seen.spans_refused, "malformed span")} refused since the start.`);
  if (seen.spans_sent_away) parts.push(`${plural(seen.spans_sent_away, "span")} told to come again.`);
  if (gateway.foreign_trades) parts.push(`${plural(gateway.foreign_trades, "trade")} on this account that no bot made.`);
  if (seen.traces_without_order || seen.events_refused || gateway.foreign_trades) tone = tone === "gain" ? "warn" : tone;
  return { text: parts.join(" "), tone };
}
