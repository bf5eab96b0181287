// One live page: listens to the service's events and shows each snapshot.

import { BotTable } from "./bots.js";
import { ProfitChart } from "./chart.js";
import { count, make, money, percent, plural, span, timeOf, toneOf, write } from "./format.js";
import { isStale, showQuota } from "./limits.js";
import { completenessOf, showOrders, showTimes } from "./panels.js";

const at = (id) => document.getElementById(id);
const chart = new ProfitChart(at("curve"), at("curve-read"));
let picked = "";
let latest = null;

const table = new BotTable(at("bots"), (bot) => pick(bot === picked ? "" : bot));

function pick(bot) {
  picked = bot;
  if (latest) show(latest);
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") pick("");
});

function show(snapshot) {
  latest = snapshot;
  document.body.classList.remove("waiting", "offline");
  showHeader(snapshot);
  showTiles(snapshot);
  const bot = snapshot.bots.find((one) => one.bot === picked);
  const shown = bot ?? snapshot;
  const title = bot ? `Profit of ${bot.bot}` : "Profit over time";
  write(at("curve-title"), title);
  chart.show(shown.curve, shown.total.since_s, snapshot.time_s, snapshot.account.currency, title);
  showQuota(at("quota"), at("quota-note"), snapshot, picked);
  table.show(snapshot, picked);
  const recent = span(snapshot.window_s);
  write(at("bots-note"), picked ? "Esc shows all again" : "a name shows one alone");
  showOrders(at("orders"), snapshot, picked);
  write(at("orders-note"), picked ? `of ${picked}` : "");
  showTimes(at("times"), (bot ?? snapshot).recent);
  write(at("times-note"), `p50, p95, p99${bot ? ` of ${bot.bot}` : ` of the last ${recent}`}`);
  const { text, tone } = completenessOf(snapshot);
  write(at("completeness"), text, tone);
}

function showHeader({ account, fleet, gateway, speed, time_s, total }) {
  write(at("fleet"), fleet);
  write(at("clock"), `${timeOf(time_s)} UTC`);
  const chips = [
    account.is_demo === null ? null : account.is_demo ? ["demo", "demo account"] : ["real", "real money"],
    account.login_id ? [account.login_id, "login id"] : null,
    account.dialect ? [account.dialect, "dialect of Deriv's API"] : null,
    speed === 1 ? null : [`${count(speed)}× speed`, "the fleet's clock against the wall's"],
  ].filter(Boolean);
  at("chips").replaceChildren(...chips.map(([text, title]) => make("li", { title, "data-kind": text }, text)));
  const sockets = gateway.connections.filter((one) => one.state !== "ready");
  if (!gateway.connected) write(at("link"), `gateway away ${span(gateway.lag_s)}`, "loss");
  else if (sockets.length) write(at("link"), `${sockets.map((one) => `${one.role} ${one.state}`).join(", ")}`, "warn");
  else write(at("link"), "live", "gain");
  at("link").title = gateway.connections
    .map((one) => `${one.role}: ${one.state}, ping ${Math.round(one.ping_ms)} ms, ${plural(one.reconnects, "reconnect")}${one.problem ? `, ${one.problem}` : ""}`)
    .join("\n");
  document.title = total.settled ? `${money(total.profit, { signed: true })} ${account.currency} · ${fleet}` : `${fleet} · derivfleet`;
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
  write(at("open"), count(total.open));
  write(at("open-note"), `${plural(recent.buys, "purchase")} in ${span(window_s)}`);
  const refused = gateway.rejected_by_deriv;
  write(at("refused"), refused === null ? "–" : count(refused), refused ? "loss" : "even");
  write(at("refused-note"), "calls, for their rate");
}

function listen() {
  const events = new EventSource("events");
  events.onmessage = (event) => show(JSON.parse(event.data));
  events.onerror = () => {
    document.body.classList.add("offline");
    write(at("link"), latest ? `page cut off at ${timeOf(latest.time_s)}` : "no answer from the service", "loss");
    // The browser tries again by itself, but not after an answer that was an error.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
}

listen();
