// The top of the page: the site, the link, the headline, the totals. The tab's title and icon show the headline, too.

import { arrange, byId, make, mark, put, set } from "./dom.js";
import { rate, when, whole } from "./figures.js";
import { verdictOf, wordsOf } from "./verdict.js";

const LINKS = {
  live: "live",
  lost: "link lost, trying again",
  keyless: "an API key is needed",
};
// The tab's icons: a green circle, a yellow triangle, a red square, and a grey circle.
const ICONS = {
  unknown: '<circle cx="8" cy="8" r="6" fill="#8a9099"/>',
  good: '<circle cx="8" cy="8" r="6" fill="#2da44e"/>',
  warning: '<path d="M8 1.5 15 14H1z" fill="#d4a017"/>',
  bad: '<rect x="2" y="2" width="12" height="12" rx="1" fill="#e5484d"/>',
};

export class Head {
  #shown = "";
  #statements = [];
  #place = "svc"; // the site and its host
  #totals = new Map();
  #toInstance;
  #toModel;

  // toInstance(name) and toModel(name) show the row of an instance, and the card of a model.
  constructor(toInstance, toModel) {
    this.#toInstance = toInstance;
    this.#toModel = toModel;
    for (const [name, label] of [
      ["requests", "requests/s"],
      ["in_flight", "in flight"],
      ["waiting", "queue"],
      ["errors", "errors/s"],
      ["retries", "retries"],
      ["resumed", "resumed"],
    ]) {
      const value = make("dd", { "data-total": name }, "–");
      this.#totals.set(name, value);
      byId("totals").append(make("div", {}, make("dt", {}, label), value));
    }
    const bar = document.querySelector(".bar");
    const measure = () => document.documentElement.style.setProperty("--bar", `${bar.offsetHeight}px`);
    new ResizeObserver(measure).observe(bar);
  }

  // `why`: the router's error message; `last`: the time of the last message, if any.
  link(state, why, last) {
    set(document.documentElement, "data-link", state);
    put(byId("connection-text"), LINKS[state]);
    put(byId("why"), state === "lost" ? why : "");
    if (state === "live") return;
    const words = state === "keyless" ? "This router needs an API key" : `No link to the router${last ? ` since ${when(last)}` : ""}`;
    const old = this.#statements.map((one) => ({ ...one, level: "info" }));
    this.#show("unknown", [{ level: "bad", lead: [words], names: [], more: 0 }, ...old]);
    this.#shown = "";
  }

  verdict({ snapshot, tick, version }) {
    this.#name(snapshot);
    const statements = verdictOf(snapshot, tick, version);
    const shown = JSON.stringify([this.#place, statements.map(({ all, ...rest }) => rest)]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#statements = statements;
    this.#show(statements[0].level, statements);
  }

  tick(tick) {
    for (const [name, value] of this.#totals) {
      const number = tick[name] ?? 0;
      put(value, Number.isInteger(number) ? whole(number) : rate(number));
    }
    set(this.#totals.get("errors"), "data-level", tick.errors > 0 ? "bad" : "");
    set(this.#totals.get("waiting"), "data-level", tick.waiting > 0 ? "warning" : "");
  }

  #name({ version, site }) {
    const { name = "", host = "" } = site ?? {};
    this.#place = [name, host && (name ? `on ${host}` : host)].filter(Boolean).join(" ") || "svc";
    put(byId("place"), this.#place);
    set(byId("place"), "title", this.#place); // a phone shows its beginning
    put(byId("version"), this.#place === "svc" ? version : `svc ${version}`);
  }

  #show(level, statements) {
    set(document.documentElement, "data-verdict", level);
    this.#tab(level, wordsOf(statements[0]));
    const led = document.activeElement?.getAttribute("data-leads");
    arrange(byId("verdict"), statements.map((one, at) => this.#sentence(one, at ? "further" : "verdict")));
    if (led) byId("verdict").querySelector(`[data-leads="${CSS.escape(led)}"]`)?.focus({ preventScroll: true });
  }

  #sentence({ level, lead, names, more }, kind) {
    const words = lead.map((part) => (part.model ? this.#way(part.model, "#models", `model ${part.model}`, part.model, this.#toModel) : part));
    const line = make("p", { class: kind, "data-level": level }, mark(level), ...words);
    names.forEach(({ name, note }, at) => {
      const comma = at < names.length - 1 ? "," : ""; // inside of the span, so that no line begins with it
      line.append(at ? " " : ": ", make("span", { class: "named" }, this.#way(name, "#instances", name, `${name} ${note}`, this.#toInstance), comma));
    });
    if (more) line.append(` and ${more} more`);
    return line;
  }

  #way(name, href, leads, text, show) {
    const way = make("a", { href, "data-leads": leads }, text);
    way.addEventListener("click", (event) => {
      event.preventDefault();
      show(name);
    });
    return way;
  }

  #tab(level, words) {
    document.title = `${words} · ${this.#place}`;
    const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">${ICONS[level]}</svg>`;
    set(byId("icon"), "href", `data:image/svg+xml,${encodeURIComponent(picture)}`);
  }
}
