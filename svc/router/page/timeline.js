// The timeline of events, the newest first.

import { arrange, byId, make, mark, put } from "./dom.js";
import { when } from "./figures.js";

const TROUBLE = ["bad", "warning"];
const MAX_SHOWN = 10; // events, until the button shows all: the list itself does not scroll

export class Timeline {
  #items = new Map();
  #events = [];
  #registry = null;
  #table;
  #all = false;

  constructor(table) {
    this.#table = table;
    byId("only-bad").addEventListener("change", () => this.show(this.#events, this.#registry));
    byId("all-events").addEventListener("click", () => {
      this.#all = !this.#all;
      this.show(this.#events, this.#registry);
    });
  }

  show(events, registry) {
    this.#events = events;
    this.#registry = registry;
    const only = byId("only-bad").checked;
    const shown = events.filter(({ level }) => !only || TROUBLE.includes(level)).reverse();
    const kept = new Set(events.map(keyOf));
    for (const key of this.#items.keys()) if (!kept.has(key)) this.#items.delete(key);
    arrange(byId("timeline"), shown.slice(0, this.#all ? undefined : MAX_SHOWN).map((event) => this.#item(event)));
    byId("all-events").hidden = shown.length <= MAX_SHOWN;
    put(byId("all-events"), this.#all ? `Show the newest ${MAX_SHOWN}` : `Show all ${shown.length}`);
    byId("no-events").hidden = shown.length > 0;
    put(byId("no-events"), events.length ? "No problems among the last events." : none(registry));
  }

  #item(event) {
    const key = keyOf(event);
    if (!this.#items.has(key)) this.#items.set(key, new Item(event, this.#table.show));
    return this.#items.get(key).show(this.#table.has(event.service));
  }
}

// The id of an event alone is not unique: a registry that has lost its data starts to count again.
const keyOf = ({ id, time }) => `${id} ${time}`;

function none(registry) {
  if (!registry?.url) return registry ? "No events: no registry is configured." : "";
  return registry.answers ? "Nothing has happened yet." : "The registry does not answer.";
}

class Item {
  #date;
  #time;
  #name;

  constructor({ id, time, kind, level, service, source, message }, leads) {
    this.#date = new Date(time);
    this.#time = make("time", { datetime: time, title: this.#date.toLocaleString() });
    this.#name = make("button", { type: "button", class: "plain" }, service);
    this.#name.addEventListener("click", () => leads(service));
    const words = make("small", { class: "muted" }, [message, source].filter(Boolean).join(" · "));
    const text = make("p", {}, this.#name, " ", make("b", { class: "kind" }, kind), words);
    this.node = make("li", { "data-event": String(id), "data-kind": kind, "data-level": level }, this.#time, mark(level), text);
  }

  // Draws the time anew, because after midnight it includes the date. `row`: whether the event's instance has a row.
  show(row) {
    put(this.#time, when(this.#date));
    this.#name.disabled = !row;
    return this.node;
  }
}
