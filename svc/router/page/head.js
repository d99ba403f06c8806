// The top of the page: the link, the verdict, the totals. The tab's title and icon show the verdict, too.

import { arrange, byId, make, mark, put, set } from "./dom.js";
import { rate, when, whole } from "./figures.js";
import { rank, verdictOf } from "./verdict.js";

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
  #totals = new Map();
  #leads;

  // leads(name) shows the row of an instance.
  constructor(leads) {
    this.#leads = leads;
    for (const [name, label] of [
      ["requests", "requests/s"],
      ["in_flight", "in flight"],
      ["waiting", "queue"],
      ["errors", "errors/s"],
      ["retries", "retries"],
    ]) {
      const value = make("dd", { "data-total": name }, "–");
      this.#totals.set(name, value);
      byId("totals").append(make("div", {}, make("dt", {}, label), value));
    }
  }

  // `why`: the router's error message; `last`: the time of the last message, if any.
  link(state, why, last) {
    set(document.documentElement, "data-link", state);
    put(byId("connection-text"), LINKS[state]);
    const lastMessage = last ? `last heard at ${when(last)}` : "nothing was heard yet";
    put(byId("why"), state === "lost" ? [why, lastMessage].filter(Boolean).join("; ") : "");
    if (state === "live") return;
    this.#tab("unknown", LINKS[state]);
    if (!this.#shown && !last) arrange(byId("verdict"), [make("p", { class: "verdict" }, LINKS[state])]);
    this.#shown = "";
  }

  verdict({ snapshot, tick, version }) {
    put(byId("version"), snapshot.version);
    const lines = verdictOf(snapshot, tick, version);
    const shown = JSON.stringify(lines.map(({ names, ...rest }) => [rest, names.map(({ name, state }) => [name, state])]));
    if (shown === this.#shown) return;
    this.#shown = shown;
    set(document.documentElement, "data-verdict", lines[0].level);
    this.#tab(lines[0].level, lines[0].words);
    const led = document.activeElement?.getAttribute("data-leads");
    arrange(byId("verdict"), lines.map((line, at) => this.#sentence(line, at ? "further" : "verdict")));
    if (led) byId("verdict").querySelector(`[data-leads="${CSS.escape(led)}"]`)?.focus({ preventScroll: true });
  }

  tick(tick) {
    for (const [name, value] of this.#totals) {
      const number = tick[name];
      put(value, Number.isInteger(number) || name === "retries" ? whole(number) : rate(number));
    }
    set(this.#totals.get("errors"), "data-level", tick.errors > 0 ? "bad" : "");
    set(this.#totals.get("waiting"), "data-level", tick.waiting > 0 ? "warning" : "");
  }

  #sentence({ level, words, names, more }, kind) {
    const line = make("p", { class: kind, "data-level": level }, mark(level), words);
    names.forEach((instance, at) => line.append(at ? ", " : ": ", this.#way(instance)));
    if (more) line.append(` and ${more} more`);
    return line;
  }

  #way({ name, state, level }) {
    const way = make("a", { href: "#instances", "data-level": level, "data-leads": name }, `${name} ${state}`);
    way.addEventListener("click", (event) => {
      event.preventDefault();
      this.#leads(name);
    });
    return way;
  }

  #tab(level, words) {
    document.title = `${words} · svc`;
    const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">${ICONS[level]}</svg>`;
    set(byId("icon"), "href", `data:image/svg+xml,${encodeURIComponent(picture)}`);
  }
}
