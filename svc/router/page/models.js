// A section for each model: its numbers and plots, and its errors by kind.

import { arrange, byId, make, mark, put, set } from "./dom.js";
import { whole, when } from "./figures.js";
import { Plots } from "./plots.js";

export class Models {
  #sections = new Map();

  site({ models, instances, router }) {
    const levels = new Map(instances.map(({ name, level }) => [name, level]));
    const since = when(new Date(router.since * 1000));
    const shown = models.map((model) => this.#section(model.name).site(model, levels, since));
    const known = new Set(models.map(({ name }) => name));
    for (const [name, section] of this.#sections) {
      if (known.has(name)) continue;
      section.end();
      this.#sections.delete(name);
    }
    arrange(byId("models"), shown);
  }

  tick({ models, others }, history) {
    const astray = listed(others.lately);
    put(byId("others"), astray ? `errors in 5 minutes, of requests for no model that is here: ${astray}` : "");
    for (const [name, section] of this.#sections) section.tick(models[name], history.get(name));
  }

  #section(name) {
    if (!this.#sections.has(name)) this.#sections.set(name, new Section(name));
    return this.#sections.get(name);
  }
}

// Error kinds and their counts, the highest first.
const listed = (kinds) =>
  Object.entries(kinds)
    .sort(([, one], [, other]) => other - one)
    .map(([kind, count]) => `${kind} ×${whole(count)}`)
    .join(", ");

let made = 0;

class Section {
  #aliases = make("span", { class: "muted" });
  #able = make("span", { class: "able" });
  #mark = mark("good");
  #load = make("span", { class: "load" });
  #kinds = make("span", { class: "kinds" });
  #ever = make("span", { class: "ever" });
  #since = "";
  #plots;

  constructor(name) {
    const id = `model-${made++}`;
    const plots = make("div", { class: "plots" });
    this.node = make(
      "section",
      { class: "model", "aria-labelledby": id },
      make("div", { class: "head" }, make("h2", { id }, name), this.#aliases, this.#mark, this.#able),
      plots,
      make("div", { class: "foot" }, this.#load, this.#kinds, this.#ever),
    );
    this.#plots = new Plots(plots, name);
  }

  site({ aliases, instances }, levels, since) {
    this.#since = since;
    const able = instances.filter((name) => levels.get(name) === "good").length;
    const level = able === instances.length ? "good" : able ? "warning" : "bad";
    put(this.#aliases, aliases.length ? `also ${aliases.join(", ")}` : "");
    put(this.#able, `${able} of ${instances.length} healthy`);
    set(this.#able, "data-level", level);
    set(this.#mark, "data-level", level);
    return this.node;
  }

  tick(numbers, past) {
    const { in_flight = 0, waiting = 0, kinds = {}, lately = {} } = numbers ?? {};
    put(this.#load, `${whole(in_flight)} in flight, ${whole(waiting)} queued`);
    const [now, ever] = [lately, kinds].map(listed);
    put(this.#kinds, now ? `errors in 5 minutes: ${now}` : "no errors in 5 minutes");
    set(this.#kinds, "data-level", now ? "bad" : "");
    put(this.#ever, ever && ever !== now ? `since the router's start at ${this.#since}: ${ever}` : "");
    if (past) this.#plots.show(past, numbers);
  }

  end() {
    this.#plots.end();
  }
}
