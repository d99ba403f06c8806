// What happened, the newest first.

import { arrange, byId, go, make, mark, put } from "./dom.js";
import { dayOf, sameDay, timeOf } from "./figures.js";

const TROUBLE = ["bad", "warning"];

export class Timeline {
  #items = new Map();
  #events = [];
  #rowOf;

  constructor(rowOf) {
    this.#rowOf = rowOf;
    byId("only-bad").addEventListener("change", () => this.show(this.#events));
  }

  show(events) {
    this.#events = events;
    const only = byId("only-bad").checked;
    const shown = events.filter(({ level }) => !only || TROUBLE.includes(level)).reverse();
    const kept = new Set(events.map(keyOf));
    for (const key of this.#items.keys()) if (!kept.has(key)) this.#items.delete(key);
    arrange(byId("timeline"), shown.map((event) => this.#item(event)));
    byId("no-events").hidden = shown.length > 0;
    put(byId("no-events"), only && events.length ? "No trouble among the last events." : "Nothing has happened yet.");
  }

  #item(event) {
    const key = keyOf(event);
    if (!this.#items.has(key)) this.#items.set(key, item(event, this.#rowOf));
    return this.#items.get(key);
  }
}

// A registry that lost its data begins to count anew.
const keyOf = ({ id, time }) => `${id} ${time}`;

function item({ id, time, kind, level, service, source, message }, rowOf) {
  const date = new Date(time);
  const today = sameDay(date, new Date());
  const name = make("button", { type: "button", class: "plain" }, service);
  name.addEventListener("click", () => go(rowOf(service)));
  return make(
    "li",
    { "data-event": String(id), "data-kind": kind, "data-level": level },
    make("time", { datetime: time, title: date.toLocaleString() }, today ? timeOf(date) : `${dayOf(date)} ${timeOf(date)}`),
    mark(level),
    make("p", {}, name, " ", make("b", { class: "kind" }, kind), make("small", { class: "muted" }, [message, source].filter(Boolean).join(" · "))),
  );
}
