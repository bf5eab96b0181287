// The service behind the page: questions, the live events, and who we are to it.

const PATIENCE_S = 5; // a snapshot may be this late before the page says so
const REOPEN_S = 15; // and this late before the socket is given up: it may be open and dead
const ASK_AGAIN_S = 3;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function ask(path, query = {}, options = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const tail = given.length ? `?${new URLSearchParams(given)}` : "";
  let answer;
  try {
    answer = await fetch(`${path}${tail}`, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The service does not answer.");
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, body?.error?.message ?? `The service said ${answer.status}.`);
  return body;
}

export const whoAmI = () => ask("session");

export const signIn = (token) =>
  ask("session", {}, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }) });

export const signOut = () => fetch("session", { method: "DELETE" });

// Calls back with each snapshot, and with the state of the line: live, stale (late), away, or shut (sign in again).
export class Events {
  #onSnapshot;
  #onLine;
  #source = null;
  #heard = performance.now();
  #opened = performance.now();
  #everyS = 1;
  #state = "";

  constructor(onSnapshot, onLine) {
    this.#onSnapshot = onSnapshot;
    this.#onLine = onLine;
  }

  start() {
    this.#open();
    setInterval(() => this.#watch(), 1000);
    // A laptop that wakes up asks at once.
    addEventListener("online", () => this.#open());
  }

  #open() {
    this.#source?.close();
    this.#opened = performance.now();
    const source = new EventSource("events");
    this.#source = source;
    source.onmessage = (event) => {
      const snapshot = JSON.parse(event.data);
      this.#heard = performance.now();
      this.#everyS = snapshot.every_s;
      this.#onSnapshot(snapshot);
      this.#say("live");
    };
    source.onerror = () => {
      if (this.#source !== source) return;
      this.#say("away");
      // The browser tries again by itself, but not after an answer that was an error.
      if (source.readyState === EventSource.CLOSED) this.#findOut(source);
    };
  }

  async #findOut(source) {
    try {
      if ((await whoAmI()).name === null) return this.#say("shut");
    } catch {
      // not there at all: the same as any other absence
    }
    setTimeout(() => {
      if (this.#source === source) this.#open();
    }, ASK_AGAIN_S * 1000);
  }

  #watch() {
    if (this.#state === "shut") return;
    const silentS = (performance.now() - this.#heard) / 1000;
    const patienceS = Math.max(PATIENCE_S, 4 * this.#everyS);
    if (silentS < patienceS) return;
    this.#say(this.#state === "away" ? "away" : "stale", silentS);
    if ((performance.now() - this.#opened) / 1000 > Math.max(REOPEN_S, patienceS) && this.#source.readyState !== EventSource.CLOSED) {
      this.#open();
    }
  }

  #say(state, silentS = (performance.now() - this.#heard) / 1000) {
    this.#state = state;
    this.#onLine(state, silentS);
    if (state === "shut") this.#source.close();
  }
}
