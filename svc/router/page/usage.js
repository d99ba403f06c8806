// Who uses the models now, and has used them today. The router shows this to operators only, so it may refuse.

import { arrange, byId, make, put } from "./dom.js";
import { byName, count, short } from "./figures.js";
import { authorization, operatorToken } from "./keys.js";

const INTERVAL_MS = 5_000;
const TIMEOUT_MS = 15_000;
const MAX_SHOWN = 20; // accounts
const PATH = "/usage?by=key,user&since=today";
const REFUSALS = [401, 403, 404];

const tokens = (row) => Math.max(0, (row?.prompt ?? 0) + (row?.completion ?? 0));

export class Usage {
  #rows = new Map();
  #counts = false; // whether the router counts usage
  #refused = false; // until the keys change
  #reading = false;

  constructor() {
    setInterval(() => this.#read(), INTERVAL_MS);
  }

  // Takes what the router reports about itself; `again`: the keys may have changed.
  site(snapshot, again) {
    const began = snapshot.usage && (!this.#counts || again);
    this.#counts = snapshot.usage;
    if (!this.#counts) byId("usage").hidden = true;
    if (began) {
      this.#refused = false;
      this.#read();
    }
  }

  async #read() {
    if (!this.#counts || this.#refused || this.#reading || document.hidden) return;
    this.#reading = true;
    try {
      const token = operatorToken() ? { "X-Operator-Token": operatorToken() } : {};
      const answer = await fetch(PATH, { headers: { ...authorization(), ...token }, signal: AbortSignal.timeout(TIMEOUT_MS) });
      this.#refused = REFUSALS.includes(answer.status);
      if (answer.ok) this.#show(await answer.json());
      if (this.#refused) byId("usage").hidden = true;
    } catch {
      // The router does not answer: the page says so elsewhere.
    } finally {
      this.#reading = false;
    }
  }

  #show({ rows, recent, problem }) {
    const accounts = new Map();
    for (const row of rows) accounts.set(keyOf(row), { row, now: 0 });
    for (const row of recent) accounts.set(keyOf(row), { row, ...accounts.get(keyOf(row)), now: tokens(row) });
    const sorted = [...accounts.entries()].sort(([a, one], [b, other]) => other.now - one.now || tokens(other.row) - tokens(one.row) || byName(a, b));
    const shown = sorted.slice(0, MAX_SHOWN);
    for (const key of this.#rows.keys()) if (!accounts.has(key)) this.#rows.delete(key);
    arrange(byId("usage-rows"), shown.map(([key, { row, now }]) => this.#row(key, row).show(row, now)));
    byId("usage").hidden = sorted.length === 0 && !problem;
    const more = sorted.length > shown.length ? `and ${count(sorted.length - shown.length, "other")}; svc usage shows all` : "";
    put(byId("usage-more"), problem ? `Not complete: ${problem}` : more);
  }

  #row(key, row) {
    if (!this.#rows.has(key)) this.#rows.set(key, new Row(row));
    return this.#rows.get(key);
  }
}

const keyOf = ({ key, user }) => JSON.stringify([key, user]);

class Row {
  #cells = Array.from({ length: 5 }, () => make("td", { role: "cell" }));

  constructor({ key, user }) {
    const name = make("b", {}, key || (user ? "" : "all clients"));
    this.node = make("tr", { role: "row" }, make("th", { scope: "row", role: "rowheader" }, name, key && user ? " " : "", make("span", { class: "muted" }, user)), ...this.#cells);
  }

  show(row, now) {
    const texts = [now ? short(now) : "", short(row.prompt), short(row.completion), short(row.requests), row.failed ? short(row.failed) : ""];
    texts.forEach((text, at) => put(this.#cells[at], text));
    return this.node;
  }
}
