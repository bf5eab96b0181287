// Shortcuts of one key, which can be switched off, and their help.

import { at, make } from "./format.js";

const KEY = "derivfleet-shortcuts";
const NAMES = [["1–4", "Overview, orders, reports, alerts"], ["/", "Search or filter"], ["[ ]", "Earlier or later report"], ["t", "Theme: auto, dark, light"], ["?", "This help"], ["Esc", "Close, or clear picked bot and filters"]];

// `actions`: key → what it does. Keys are left alone while somebody types.
export function listenToKeys(actions) {
  const help = at("help");
  const box = at("help-on");
  box.checked = stored() !== "off";
  box.addEventListener("change", () => store(box.checked ? "on" : "off"));
  at("help-keys").replaceChildren(...NAMES.map(([key, what]) => make("div", {}, make("dt", {}, ...key.split(/[ –]/).flatMap((one, i) => [i && key.includes("–") ? "–" : "", make("kbd", {}, one)])), make("dd", {}, what))));
  at("help-open").addEventListener("click", () => help.showModal());
  at("help-close").addEventListener("click", () => help.close());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "Escape") {
      if (typing) event.target.blur();
      actions.Escape();
      return;
    }
    if (typing || !box.checked) return;
    const action = event.key === "?" ? () => help.showModal() : actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage is closed to us: shortcuts are on
  }
}

function store(value) {
  try {
    localStorage.setItem(KEY, value);
  } catch {
    // it holds until the page is closed
  }
}
