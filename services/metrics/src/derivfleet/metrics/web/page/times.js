// Where the time goes, and what was not seen.

import { count, isNews, make, millis, money, plural, span } from "./format.js";

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

// `phases`: name → {count, p50_ms, p95_ms, p99_ms}.
export function showTimes(box, phases) {
  const seen = PHASES.filter(([phase]) => phases[phase]);
  if (!isNews(box, seen.map(([phase]) => phases[phase]))) return;
  if (seen.length === 0) {
    box.replaceChildren(make("p.empty", {}, "No traces in this time."));
    return;
  }
  box.replaceChildren(
    ...seen.map(([phase, name, explained]) => {
      const one = phases[phase];
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
  } else if (gateway.lag_s > Math.max(2, 2 * snapshot.speed)) {
    tone = "warn";
    parts.push(`The order feed is catching up, ${span(gateway.lag_s)} behind.`);
  } else {
    parts.push(`Every order is here: the feed is live, ${plural(seen.orders_in_feed, "order")} settled in ${minutes}.`);
  }
  const { unknown, doubtful } = snapshot.total;
  if (unknown) {
    tone = doubtful ? "loss" : tone === "gain" ? "warn" : tone;
    parts.push(`Of ${plural(unknown, "order")} nobody knows yet whether it bought${doubtful ? `; ${count(doubtful)} of them ${doubtful === 1 ? "waits" : "wait"} for you` : ""}.`);
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
  if (seen.spans_deferred) parts.push(`${plural(seen.spans_deferred, "span")} told to come again.`);
  if (snapshot.copy) parts.push(...copyOf(snapshot.copy, snapshot.speed));
  if (gateway.foreign_trades) parts.push(`${plural(gateway.foreign_trades, "trade")} on this account that no bot made.`);
  if (seen.traces_without_order || seen.events_refused || snapshot.copy?.problem || snapshot.copy?.refused_rows || gateway.foreign_trades) tone = tone === "gain" ? "warn" : tone;
  return { text: parts.join(" "), tone };
}

// What is on its way is not behind.
const ON_ITS_WAY_S = 30;

function copyOf(copy, speed) {
  const isBehind = copy.behind_rows && (copy.problem || copy.behind_s > ON_ITS_WAY_S * Math.max(1, speed));
  const behind = isBehind ? `${plural(copy.behind_rows, "row")} behind, the oldest for ${span(copy.behind_s)}` : "up to date";
  const parts = [`The copy at Supabase is ${behind}${copy.problem ? ` (${copy.problem}, tried again)` : ""}.`];
  if (copy.refused_rows) parts.push(`${plural(copy.refused_rows, "row")} refused by it.`);
  return parts;
}
