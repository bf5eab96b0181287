// Numbers, times and elements: how values become what people read.

// Of a time and a zone; a formatter is slow to make, so each zone's is made once.
function formatter(parts) {
  const made = new Map();
  return (epochS, timeZone = "UTC") => {
    if (!made.has(timeZone)) made.set(timeZone, new Intl.DateTimeFormat("en-GB", { ...parts, timeZone }));
    return made.get(timeZone).format(epochS * 1000);
  };
}

export const timeOf = formatter({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const minuteOf = formatter({ hour: "2-digit", minute: "2-digit" });
export const dayOf = formatter({ day: "numeric", month: "short" });
export const dateOf = formatter({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
// Today's times need no date.
export const whenOf = (epochS, nowS) => (dayOf(epochS) === dayOf(nowS) ? timeOf(epochS) : `${dayOf(epochS)} ${timeOf(epochS)}`);

const MINUS = "\u2212";

// Exact difference of two decimal strings, for comparing periods.
export function minus(a, b) {
  const digits = Math.max(...[a, b].map((text) => (text.split(".")[1] ?? "").length));
  const whole = (text) => {
    const negative = text.startsWith("-");
    const [units, cents = ""] = text.replace("-", "").split(".");
    const value = BigInt(units + cents.padEnd(digits, "0"));
    return negative ? -value : value;
  };
  const value = whole(a) - whole(b);
  const text = String(value < 0n ? -value : value).padStart(digits + 1, "0");
  return `${value < 0n ? "-" : ""}${text.slice(0, text.length - digits)}${digits ? `.${text.slice(-digits)}` : ""}`;
}

// Money arrives as decimal strings and stays text: only its grouping and its sign are dressed.
export function money(text, { signed = false } = {}) {
  if (text === null || text === undefined || text === "") return "–";
  const negative = text.startsWith("-");
  const [whole, cents = ""] = text.replace("-", "").split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const zero = /^[0.]*$/.test(text.replace("-", ""));
  const sign = zero ? "" : negative ? MINUS : signed ? "+" : "";
  return `${sign}${grouped}.${cents.padEnd(2, "0")}`;
}

export const signOf = (text) => Math.sign(Number(text));
export const toneOf = (text) => ["loss", "even", "gain"][signOf(text) + 1];

export function percent(ratio, digits = 0) {
  return ratio === null || ratio === undefined ? "–" : `${(ratio * 100).toFixed(digits)}\u202f%`;
}

export function count(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

export function millis(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1) return `${ms.toFixed(2)}\u202fms`;
  if (ms < 10) return `${ms.toFixed(1)}\u202fms`;
  if (ms < 1000) return `${Math.round(ms)}\u202fms`;
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)}\u202fs`;
}

export function span(seconds) {
  if (seconds < 60) return `${Math.round(seconds)}\u202fs`;
  if (seconds < 3600) return `${Math.round(seconds / 60)}\u202fmin`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)}\u202fh`;
  return `${Math.round(seconds / 86_400)}\u202fd`;
}

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

const SVG = "http://www.w3.org/2000/svg";

// make("p.note", {title: "…"}, child, "text"): an element; text is only ever text.
export function make(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag);
  element.className = classes.join(" ");
  return dress(element, attributes, children);
}

export function draw(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const at = (id) => document.getElementById(id);

const CONTRACTS = {
  CALL: "Rise", PUT: "Fall", CALLE: "Rise or equal", PUTE: "Fall or equal", DIGITMATCH: "Matches",
  DIGITDIFF: "Differs", DIGITOVER: "Over", DIGITUNDER: "Under", DIGITEVEN: "Even", DIGITODD: "Odd",
};
const UNITS = { t: "tick", s: "second", m: "minute", h: "hour", d: "day" };

export const contractOf = (order) => [CONTRACTS[order.contract_type] ?? order.contract_type, order.barrier].filter(Boolean).join(" ");
export const durationOf = (order) => plural(order.duration, UNITS[order.duration_unit] ?? order.duration_unit);

// What became of an order: its profit if it has settled, else its state in a word.
const STATES = { confirmed: "open", not_found: "not found" };
const TONES = { confirmed: "calm", sent: "calm", intended: "calm", unknown: "warn" };
export const stateOf = (order) => (order.doubt ? "doubtful" : (STATES[order.state] ?? order.state));
export const toneOfState = (order) => (order.doubt ? "loss" : order.state === "settled" ? "even" : (TONES[order.state] ?? "loss"));

// Why an order waits for a person, in words.
const DOUBTS = {
  more_candidates: "more purchases fit than orders were lost",
  foreign_trades: "somebody else buys the like on this account",
  no_such_contract: "it was tied to a contract that Deriv's records do not know",
  records_unreadable: "the account's records could not be read",
};
export const doubtOf = (order) => DOUBTS[order.doubt] ?? order.doubt;

// Whether a box shows something else than before; what has not changed keeps its elements, and what points at them.
export function isNews(box, told) {
  const text = JSON.stringify(told);
  if (box.dataset.told === text) return false;
  box.dataset.told = text;
  return true;
}

export function write(element, text, tone) {
  if (element.textContent !== text) element.textContent = text;
  if (tone !== undefined) element.dataset.tone = tone;
}
