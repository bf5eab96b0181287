// The page as a whole: signing in, which view is shown, and each snapshot to whoever shows it.

import { showAlerts } from "./alerts.js";
import { at, count, isNews, make, money, plural, span, timeOf, write } from "./format.js";
import { listenToKeys } from "./keys.js";
import { Orders } from "./orders.js";
import { Overview } from "./overview.js";
import { Reports } from "./reports.js";
import { Events, signIn, signOut, whoAmI } from "./service.js";
import { Trace } from "./trace.js";

const TITLES = { overview: "Overview", orders: "Orders", order: "Order", reports: "Reports", alerts: "Alerts" };
const views = { overview: new Overview(), orders: new Orders(), order: new Trace(), reports: new Reports(), alerts: {} };
let current = "";
let latest = null;

function route() {
  if (current && !location.hash.startsWith("#/")) return; // an anchor within the page
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/").map(decode);
  const view = name in TITLES ? name : "overview";
  if (view === "order" && !rest[0]) return void (location.hash = "#/orders");
  const isMove = current !== "" && current !== view;
  views[current]?.leave?.();
  current = view;
  for (const one of document.querySelectorAll(".view")) one.hidden = one.id !== view;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === (view === "order" ? "orders" : view)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view === "orders") views.orders.enter(new URLSearchParams(query));
  if (view === "order") views.order.enter(rest.join("/"));
  if (view === "reports") views.reports.enter(rest[0], rest[1]);
  if (isMove) {
    scrollTo(0, 0);
    at("main").focus({ preventScroll: true });
  }
  if (latest) show(latest);
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // somebody typed a lone percent sign
  }
}

function show(snapshot) {
  latest = snapshot;
  document.body.classList.remove("waiting");
  showHeader(snapshot);
  showAlerts(snapshot);
  if (current === "overview") views.overview.show(snapshot);
  views.orders.show(snapshot);
  views.reports.show(snapshot);
}

function showHeader({ account, fleet, gateway, speed, time_s, total }) {
  write(at("fleet"), fleet);
  write(at("clock"), `${timeOf(time_s)} UTC`);
  const chips = [
    account.is_demo === null ? null : account.is_demo ? ["demo", "demo account"] : ["real money", "an account with real money"],
    account.login_id ? [account.login_id, "login id"] : null,
    account.dialect ? [account.dialect, "dialect of Deriv's API"] : null,
    speed === 1 ? null : [`${count(speed)}× speed`, "the fleet's clock against the wall's"],
  ].filter(Boolean);
  if (isNews(at("chips"), chips)) at("chips").replaceChildren(...chips.map(([text, title]) => make("li", { title, "data-kind": text }, text)));
  at("link").title = gateway.connections
    .map((one) => `${one.role}: ${one.state}, ping ${Math.round(one.ping_ms)} ms, ${plural(one.reconnects, "reconnect")}${one.problem ? `, ${one.problem}` : ""}`)
    .join("\n");
  const what = current === "overview" && total.settled ? `${money(total.profit, { signed: true })} ${account.currency}` : TITLES[current];
  document.title = `${what} · ${fleet}`;
}

// How fresh the page is: the line to the service first, then the gateway's own.
function showLine(state, silentS) {
  const isOld = state === "stale" || state === "away";
  document.body.classList.toggle("stale-page", isOld);
  const asOf = latest ? ` What is shown is of ${timeOf(latest.time_s)} UTC.` : "";
  const banner = at("banner");
  banner.hidden = !isOld;
  if (state === "stale") {
    // It is read aloud when it changes, so not every second.
    write(at("link"), `stale, ${span(Math.floor(silentS / 5) * 5)}`, "warn");
    write(banner, `No news from the service, though it is connected.${asOf}`);
  } else if (state === "away") {
    write(at("link"), "not connected", "loss");
    write(banner, `The service does not answer; it is tried again.${asOf}`);
  } else if (state === "shut") {
    askForToken("The token is no longer valid.");
  } else {
    const { gateway } = latest;
    const sockets = gateway.connections.filter((one) => one.state !== "ready");
    if (!gateway.connected) write(at("link"), `gateway away ${span(gateway.lag_s)}`, "loss");
    else if (sockets.length) write(at("link"), sockets.map((one) => `${one.role} ${one.state}`).join(", "), "warn");
    else write(at("link"), "live", "gain");
  }
}

function askForToken(problem = "") {
  document.body.classList.remove("waiting");
  for (const one of document.querySelectorAll(".view")) one.hidden = true;
  at("nav").hidden = true;
  at("banner").hidden = true;
  at("sign-in").hidden = false;
  write(at("link"), "signed out", "even");
  write(at("sign-in-problem"), problem);
  at("token").focus();
}

function begin() {
  at("sign-in").hidden = true;
  at("nav").hidden = false;
  addEventListener("hashchange", route);
  route();
  write(at("link"), "connecting…", "even");
  new Events(show, showLine).start();
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  at("main").focus();
});

at("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  write(at("sign-in-problem"), "");
  try {
    await signIn(at("token").value);
    // A fresh start: whatever the last reader saw is gone.
    location.reload();
  } catch (error) {
    write(at("sign-in-problem"), error.message);
    at("token").select();
  }
});

at("sign-out").addEventListener("click", async () => {
  await signOut();
  location.reload();
});

const openSearch = () => {
  if (!views[current]?.search) location.hash = "#/orders";
  requestAnimationFrame(() => views[current]?.search?.());
};

listenToKeys({
  1: () => (location.hash = "#/"),
  2: () => (location.hash = "#/orders"),
  3: () => (location.hash = "#/reports"),
  4: () => (location.hash = "#/alerts"),
  "/": openSearch,
  "[": () => current === "reports" && views.reports.step(-1),
  "]": () => current === "reports" && views.reports.step(1),
  t: () => window.nextTheme(),
  Escape: () => views[current]?.clear?.(),
});

async function start() {
  // The link that signs in carries its token behind the #, which no server and no log ever sees.
  const token = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (token) {
    history.replaceState(null, "", "#/");
    try {
      await signIn(decode(token));
      return begin();
    } catch (error) {
      return askForToken(error.message);
    }
  }
  try {
    if ((await whoAmI()).name !== null) return begin();
    askForToken();
  } catch (error) {
    document.body.classList.remove("waiting");
    write(at("link"), "not connected", "loss");
    write(at("banner"), `${error.message} It is tried again.`);
    at("banner").hidden = false;
    setTimeout(start, 3000);
  }
}

start();
