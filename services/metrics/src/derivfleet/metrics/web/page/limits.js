// The panel of call limits: how full each window is, whose calls fill it, who lends to whom, and what was saved.

import { count, isNews, make, percent, plural, span, timeOf, write } from "./format.js";

const WINDOWS = { 60: "minute", 3600: "hour", 1: "second" };
const MOST_BOTS = 12;

// The gateway is asked every few seconds of the fleet's clock, which may run faster than the page is drawn.
export const isStale = ({ gateway, speed }) => gateway.status_age_s === null || gateway.status_age_s > Math.max(20, 5 * speed);

export function showQuota(box, note, snapshot, picked) {
  const { gateway } = snapshot;
  const stale = isStale(snapshot);
  box.classList.toggle("stale", stale);
  write(note, gateway.status_age_s === null ? "" : stale ? `as of ${span(gateway.status_age_s)} ago` : "used of what Deriv allows");
  const { quota, shares, next_calls, savings, breaker, calls_sent } = gateway;
  if (!isNews(box, [quota, shares, next_calls, savings, breaker, calls_sent, picked])) return;
  if (gateway.quota.length === 0) {
    box.replaceChildren(make("p.empty", {}, "The gateway has not told its limits yet."));
    return;
  }
  const buckets = [...new Set(gateway.quota.map((one) => one.bucket))];
  box.replaceChildren(...breakerLine(gateway), ...buckets.map((bucket) => bucketBox(bucket, gateway, picked)), savingsLine(gateway));
}

function bucketBox(bucket, gateway, picked) {
  const windows = gateway.quota.filter((one) => one.bucket === bucket);
  return make("div.bucket", {},
    make("div.top", {}, make("h4", {}, bucket.replaceAll("_", " ")), make("small.next", {}, nextCall(bucket, gateway, picked))),
    ...windows.map(windowBar), ...shareBars(bucket, gateway, picked));
}

// Of the bots that call in this bucket, the one that may go first; of a picked bot, its own next call.
function nextCall(bucket, gateway, picked) {
  const calls = gateway.next_calls.filter((one) => one.bucket === bucket && (!picked || one.bot === picked));
  if (calls.length === 0) return "";
  const soonest = calls.reduce((first, one) => (one.wait_ms < first.wait_ms ? one : first));
  if (soonest.wait_ms === 0) return "next call now";
  const length = /\/(\d+)s$/.exec(soonest.binding_window);
  const why = length ? `the ${nameOf(Number(length[1]))} binds, ` : "";
  return `${why}next call in ${(soonest.wait_ms / 1000).toFixed(1)}\u202fs`;
}

const nameOf = (window_s) => WINDOWS[window_s] ?? span(window_s);

// One part of a bar, from a place to a place; both are parts of the whole.
function part(kind, from, to, attributes = {}) {
  const element = make(`span.${kind}`, attributes);
  element.style.left = `${100 * Math.min(1, from)}%`;
  element.style.width = `${100 * Math.max(0, Math.min(1, to) - Math.min(1, from))}%`;
  return element;
}

function windowBar(one) {
  const whole = one.deriv_limit || one.limit || 1;
  const share = one.used / whole;
  const kept = (one.used + one.reserved) / whole;
  const tone = share >= 0.95 ? "loss" : share >= 0.75 ? "warn" : "calm";
  const name = nameOf(one.window_s);
  const free = Math.max(0, one.limit - one.used - one.reserved);
  const title = `${count(one.used)} used, ${count(one.reserved)} kept for exits and reconciling, ${count(free)} free; the gateway stops at ${count(one.limit)}`;
  const mark = make("span.mark", { title: `The gateway stops at ${count(one.limit)}` });
  mark.style.left = `${Math.min(100, (100 * one.limit) / whole)}%`;
  const meter = make("div.meter", {
    role: "meter",
    "aria-label": `${one.bucket} per ${name}`,
    "aria-valuemin": 0,
    "aria-valuemax": one.deriv_limit,
    "aria-valuenow": one.used,
    "aria-valuetext": title,
    title,
  }, part("fill", 0, share, { "data-tone": tone }), part("kept", share, kept), mark);
  return make("div.window", {},
    make("span.name", {}, name), meter,
    make("span.value", {}, make("b", {}, percent(share)), ` ${count(one.used)} / ${count(one.deriv_limit)}`));
}

// The bots' parts of a bucket's shortest window: where it matters who has what, or what a picked bot has.
function shareBars(bucket, gateway, picked) {
  const all = gateway.shares.filter((one) => one.bucket === bucket);
  const isTight = all.some((one) => one.borrowed || one.waiting);
  if (!all.some((one) => one.used) || !(picked || isTight || bucket === fullest(gateway))) return [];
  const shortest = Math.min(...all.map((one) => one.window_s));
  const shares = all.filter((one) => one.window_s === shortest && (!picked || one.bot === picked));
  const shown = busiest(shares);
  const whole = Math.max(1, ...shown.map((one) => Math.max(one.share, one.used)));
  const rows = shown.map((one) => shareBar(one, whole, all.find((other) => other.bot === one.bot && other.window_s !== shortest)));
  if (shown.length < shares.length) rows.push(make("p.more", {}, `and ${shares.length - shown.length} more`));
  return rows.length ? [make("div.shares", {}, ...rows)] : [];
}

function fullest({ quota }) {
  return quota.reduce((most, one) => (one.used / (one.limit || 1) > most.used / (most.limit || 1) ? one : most)).bucket;
}

function busiest(shares) {
  if (shares.length <= MOST_BOTS) return shares;
  const ranked = [...shares].sort((a, b) => b.waiting - a.waiting || b.used - a.used).slice(0, MOST_BOTS);
  return shares.filter((one) => ranked.includes(one));
}

function shareBar(one, whole, longer) {
  const own = Math.min(one.used, one.share);
  const loans = [one.borrowed && `${count(one.borrowed)} borrowed`, one.lent && `${count(one.lent)} lent`, one.waiting && `${count(one.waiting)} waiting`];
  const inLonger = longer ? [`${nameOf(longer.window_s)}: ${count(longer.used)} of its ${count(longer.share)}`] : [];
  const title = [`${nameOf(one.window_s)}: ${count(one.used)} of its ${count(one.share)}`, ...loans.filter(Boolean), ...inLonger].join(", ");
  const mark = make("span.mark");
  mark.style.left = `${(100 * one.share) / whole}%`;
  const meter = make("div.meter", {
    role: "meter",
    "aria-label": `${one.bot}, share of ${one.bucket} per ${nameOf(one.window_s)}`,
    "aria-valuemin": 0,
    "aria-valuemax": Math.max(one.share, one.used),
    "aria-valuenow": one.used,
    "aria-valuetext": title,
  },
    part("fill", 0, own / whole, { "data-tone": "calm" }),
    part("borrowed", own / whole, one.used / whole),
    part("lent", (one.share - one.lent) / whole, one.share / whole),
    mark);
  const tone = one.waiting ? "warn" : one.borrowed ? "gain" : "even";
  const loan = one.waiting ? `${count(one.waiting)} wait` : one.borrowed ? `+${count(one.borrowed)}` : one.lent ? `\u2212${count(one.lent)}` : "";
  return make("div.share", { title, "data-bot": one.bot },
    make("span.name", {}, one.bot), meter,
    make("span.value", {}, `${count(one.used)} / ${count(one.share)}`),
    make("span.loan", { "data-tone": tone }, loan));
}

function savingsLine(gateway) {
  const kinds = gateway.savings.filter((one) => one.calls).sort((a, b) => b.calls - a.calls);
  const total = kinds.reduce((sum, one) => sum + one.calls, 0);
  const sent = gateway.calls_sent === null ? "" : `${plural(gateway.calls_sent, "call")} sent`;
  if (!total) return make("p.savings", {}, sent);
  const each = kinds.map((one) => `${one.kind.replaceAll("_", " ")} ${count(one.calls)}`).join(" · ");
  return make("p.savings", { title: "Deriv never saw them: the same was asked already, or its answer was still good" },
    `${sent}, `, make("b", {}, `${count(total)} saved`), `: ${each}`);
}

function breakerLine({ breaker }) {
  if (!breaker || breaker.state === "closed") return [];
  const state = breaker.state.replaceAll("_", " ");
  const reason = breaker.reason ? `: ${breaker.reason}` : "";
  const again = breaker.state === "open" && breaker.retry_s ? `, tried again at ${timeOf(breaker.retry_s)}` : "";
  return [make("p.breaker", { "data-tone": breaker.state === "open" ? "loss" : "warn" },
    `No orders: breaker ${state} since ${timeOf(breaker.since_s)} UTC${again}${reason}`)];
}
