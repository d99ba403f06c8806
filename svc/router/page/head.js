// The top of the page: the link, the verdict, the totals. The tab's title and icon say it too.

import { arrange, byId, go, make, mark, put, set } from "./dom.js";
import { rate, timeOf, whole } from "./figures.js";
import { rank, verdictOf } from "./verdict.js";

const LINKS = {
  connecting: "connecting",
  live: "live",
  lost: "link lost, trying again",
  keyless: "an API key is needed",
};
// of a green circle, a yellow triangle, a red square
const ICONS = {
  unknown: '<circle cx="8" cy="8" r="6" fill="#8a9099"/>',
  good: '<circle cx="8" cy="8" r="6" fill="#2da44e"/>',
  warning: '<path d="M8 1.5 15 14H1z" fill="#d4a017"/>',
  bad: '<rect x="2" y="2" width="12" height="12" rx="1" fill="#e5484d"/>',
};

export class Head {
  #shown = "";
  #totals = new Map();
  #rowOf;

  constructor(rowOf) {
    this.#rowOf = rowOf;
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

  link(state, why) {
    const since = state === "lost" ? `; last heard at ${timeOf(new Date())}` : "";
    if (document.documentElement.dataset.link === state) return;
    document.documentElement.dataset.link = state;
    put(byId("connection-text"), LINKS[state]);
    set(byId("connection"), "title", (why || LINKS[state]) + since);
    if (state !== "live") this.#tab("unknown", LINKS[state]);
    else this.#shown = "";
  }

  site(site) {
    put(byId("version"), site.version);
    const lines = verdictOf(site);
    const shown = JSON.stringify(lines.map(({ names, ...rest }) => [rest, names.map(({ name, state }) => [name, state])]));
    if (shown === this.#shown) return;
    this.#shown = shown;
    const level = lines.map((line) => line.level).sort((one, other) => rank(one) - rank(other))[0];
    document.documentElement.dataset.verdict = level;
    this.#tab(level, lines[0].words);
    arrange(byId("verdict"), lines.map((line, at) => this.#sentence(line, at ? "further" : "verdict")));
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
    const way = make("a", { href: "#instances", "data-level": level }, `${name} ${state}`);
    way.addEventListener("click", (event) => {
      event.preventDefault();
      go(this.#rowOf(name));
    });
    return way;
  }

  #tab(level, words) {
    document.title = `${words} · svc`;
    const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">${ICONS[level]}</svg>`;
    set(byId("icon"), "href", `data:image/svg+xml,${encodeURIComponent(picture)}`);
  }
}
