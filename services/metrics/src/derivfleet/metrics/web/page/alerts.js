// What needs a look: the worst first, each with its rule, whose it is, and since when.

import { at, isNews, make, plural, whenOf, write } from "./format.js";

const SIGNS = { critical: "▲", warning: "◆", info: "●" };
const MOST_PRESSING = 4;
const TONES = { critical: "loss", warning: "warn", info: "calm" };

export function showAlerts(snapshot) {
  const { alerts, time_s: nowS } = snapshot;
  const firing = alerts.filter((one) => one.state === "firing");
  const pressing = firing.filter((one) => one.severity !== "info").length;
  const badge = at("alert-count");
  badge.hidden = pressing === 0;
  write(at("alert-number"), String(pressing));
  badge.dataset.tone = firing.some((one) => one.severity === "critical") ? "loss" : "warn";
  write(at("alerts-note"), firing.length ? `${plural(firing.length, "alert")} now` : "");
  const list = at("alerts-list");
  if (!isNews(list, alerts)) return;
  const few = firing.slice(0, MOST_PRESSING).map((one) => item(one, nowS));
  if (firing.length > MOST_PRESSING) few.push(make("li.note", {}, `and ${firing.length - MOST_PRESSING} more`));
  at("pressing").replaceChildren(...(few.length ? few : [make("li.empty", {}, "Nothing needs you.")]));
  if (alerts.length === 0) {
    list.replaceChildren(make("li.empty", {}, "Nothing needs you: connections, limits, breaker, feed and bots are as they should be."));
    return;
  }
  list.replaceChildren(...alerts.map((one) => item(one, nowS)));
}

function item(one, nowS) {
  const times = [one.since_s ? `since ${whenOf(one.since_s, nowS)}` : "now", one.until_s ? `until ${whenOf(one.until_s, nowS)}` : ""].filter(Boolean).join(" ");
  const isFiring = one.state === "firing";
  return make(`li.alert${isFiring ? "" : ".over"}`, {},
    make("span.sign", { "data-tone": (isFiring && TONES[one.severity]) || "even" }, make("span", { "aria-hidden": "true" }, SIGNS[one.severity] ?? "●"), ` ${one.severity}`),
    make("div", {}, make("p", {}, [one.bot, one.message].filter(Boolean).join(": ")), make("p.note", {}, [one.rule.replaceAll("_", " "), isFiring ? "firing" : "over", times].filter(Boolean).join(" · "))));
}
