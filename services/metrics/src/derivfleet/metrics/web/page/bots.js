// The table of bots: one row each, kept in place from second to second; headers sort, a bot's name filters.

import { sparkline } from "./chart.js";
import { count, make, millis, money, percent, plural, span, toneOf, write } from "./format.js";

const buyPhase = (bot) => bot.recent.phases.buy;
const errorsOf = (bot) => bot.recent.errors.reduce((sum, one) => sum + one.count, 0);

const STATES = ["trading", "waiting", "watching", "silent"];
const MEANING = {
  trading: "It bought in the last minutes, or has an order open",
  waiting: "A call of it waits for its turn within the limits",
  watching: "It is connected and has not bought lately",
  silent: "It has made no call lately",
};

// title, sort key (larger first), class
const COLUMNS = [
  { id: "bot", title: "Bot", key: (bot) => bot.bot, text: true },
  { id: "state", title: "State", key: (bot) => STATES.indexOf(bot.state), text: true },
  { id: "profit", title: "Profit", key: (bot) => Number(bot.total.profit) },
  { id: "spark", title: "Curve", key: null },
  { id: "rate", title: "Win rate", key: (bot) => bot.total.win_rate ?? -1 },
  { id: "settled", title: "Settled", key: (bot) => bot.total.settled },
  { id: "open", title: "Open", key: (bot) => bot.open },
  { id: "ops", title: "Calls", key: (bot) => bot.recent.ops, recent: true },
  { id: "buys", title: "Buys", key: (bot) => bot.recent.buys, recent: true },
  { id: "p50", title: "Buy p50", key: (bot) => buyPhase(bot)?.p50_ms ?? -1, recent: true },
  { id: "p99", title: "Buy p99", key: (bot) => buyPhase(bot)?.p99_ms ?? -1, recent: true },
  { id: "errors", title: "Errors", key: errorsOf, recent: true },
];

export class BotTable {
  #table;
  #rows = new Map();
  #sort = { column: null, down: true };
  #onPick;
  #picked = "";
  #last = null;
  #when;

  constructor(table, onPick) {
    this.#table = table;
    this.#onPick = onPick;
    const heads = make("tr");
    for (const column of COLUMNS) {
      const cell = make(`th.${column.id}${column.recent ? ".recent" : ""}`, { scope: "col" });
      if (column.key) {
        const button = make("button", { type: "button" }, column.title);
        button.addEventListener("click", () => this.#sortBy(column));
        cell.append(button);
      } else {
        cell.append(column.title);
      }
      column.head = cell;
      heads.append(cell);
    }
    const recent = COLUMNS.filter((column) => column.recent).length;
    this.#when = make("th.when", { colspan: recent, scope: "colgroup" });
    table.tHead.append(make("tr", {}, make("td", { colspan: COLUMNS.length - recent }), this.#when), heads);
  }

  show(snapshot, picked) {
    this.#last = snapshot;
    this.#picked = picked;
    write(this.#when, `last ${span(snapshot.window_s)}`);
    const bots = this.#sorted(snapshot.bots);
    const body = this.#table.tBodies[0];
    for (const [name, row] of this.#rows) {
      if (!bots.some((bot) => bot.bot === name)) {
        row.element.remove();
        this.#rows.delete(name);
      }
    }
    bots.forEach((bot, index) => {
      const row = this.#rows.get(bot.bot) ?? this.#newRow(bot);
      this.#fill(row, bot, snapshot);
      if (body.children[index] !== row.element) body.insertBefore(row.element, body.children[index] ?? null);
    });
  }

  // Hide what does not fit; returns how many are shown, and of how many.
  filter(text, state) {
    const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { element, words, bot } of this.#rows.values()) {
      const fits = wanted.every((word) => words.includes(word)) && (!state || (state === "errors" ? errorsOf(bot) > 0 : bot.state === state));
      element.hidden = !fits;
      shown += fits;
    }
    return [shown, this.#rows.size];
  }

  #newRow(bot) {
    const cells = {};
    const element = make("tr");
    for (const column of COLUMNS) {
      const tag = column.id === "bot" ? "th" : "td";
      const cell = make(`${tag}.${column.id}${column.recent ? ".recent" : ""}`, { "data-title": column.title });
      if (tag === "th") cell.setAttribute("scope", "row");
      cells[column.id] = cell;
      element.append(cell);
    }
    const name = make("button.name", { type: "button", title: "Show only this bot" }, bot.bot);
    name.addEventListener("click", () => this.#onPick(bot.bot));
    const what = [bot.strategy.replaceAll("_", " "), bot.symbols.join(" ")].filter(Boolean).join(" · ");
    cells.bot.append(name, make("small", {}, what));
    const row = { element, cells, name, drawn: "", words: `${bot.bot} ${what}`.toLowerCase() };
    this.#rows.set(bot.bot, row);
    return row;
  }

  #fill(row, bot, snapshot) {
    const { cells } = row;
    const phase = buyPhase(bot);
    const errors = errorsOf(bot);
    row.element.classList.toggle("picked", bot.bot === this.#picked);
    row.name.setAttribute("aria-pressed", String(bot.bot === this.#picked));
    row.bot = bot;
    write(cells.state, bot.state);
    cells.state.dataset.state = bot.state;
    cells.state.title = MEANING[bot.state] ?? "";
    write(cells.profit, bot.total.settled ? money(bot.total.profit, { signed: true }) : "–", toneOf(bot.total.profit));
    write(cells.rate, percent(bot.total.win_rate));
    write(cells.settled, count(bot.total.settled));
    cells.settled.title = `${plural(bot.total.wins, "win")} of ${count(bot.total.settled)}`;
    write(cells.open, bot.open ? count(bot.open) : "–");
    write(cells.ops, count(bot.recent.ops));
    write(cells.buys, count(bot.recent.buys));
    write(cells.p50, millis(phase?.p50_ms));
    write(cells.p99, millis(phase?.p99_ms));
    write(cells.errors, errors ? count(errors) : "–", errors ? "warn" : "none");
    cells.errors.title = bot.recent.errors.map((one) => `${one.code}: ${one.count}`).join("\n");
    const drawn = JSON.stringify(bot.curve);
    if (drawn !== row.drawn) {
      row.drawn = drawn;
      cells.spark.replaceChildren(sparkline(bot.curve, snapshot.time_s));
    }
  }

  #sortBy(column) {
    const same = this.#sort.column === column;
    this.#sort = { column, down: same ? !this.#sort.down : !column.text };
    for (const one of COLUMNS) one.head.removeAttribute("aria-sort");
    column.head.setAttribute("aria-sort", this.#sort.down ? "descending" : "ascending");
    if (this.#last) this.show(this.#last, this.#picked);
  }

  #sorted(bots) {
    const { column, down } = this.#sort;
    if (!column) return bots;
    const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    return [...bots].sort((a, b) => order(column.key(a), column.key(b)) * (down ? -1 : 1));
  }
}
