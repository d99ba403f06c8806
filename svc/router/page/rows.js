// One instance's row in the table. Only cells whose text has changed are updated.

import { arrange, copies, make, mark, put, set } from "./dom.js";
import { rate, roughly, seconds, short } from "./figures.js";

export const COLUMNS = [
  ["name", "instance"],
  ["host", "address"],
  ["state", "state"],
  ["in_flight", "in flight"],
  ["requests", "requests/s"],
  ["tokens", "tokens/s"],
  ["first_token", "first token"],
  ["errors", "errors"],
  ["restarts", "restarts"],
  ["ejections", "ejections"],
  ["act", "action"],
];

const LOOPBACK = ["localhost", "127.0.0.1", "::1"]; // a command there needs no host

export class Row {
  #cells = {};
  #models = make("small", { class: "muted" });
  #word = make("span");
  #mark = mark("good");
  #meaning = make("span");
  #where = make("span");
  #command = make("code");
  #copy = make("button", { type: "button", class: "small" }, "Copy");
  #cure = make("span", { class: "cure" }, this.#where, this.#command, this.#copy);
  #explanation = make("td", { role: "cell", "data-cell": "meaning" }, this.#meaning, this.#cure);
  #buttons = [1, 2].map(() => make("button", { type: "button", class: "small" }));
  #info;

  // act(verb, instance) is called when the button of an action is pressed.
  constructor(name, act) {
    this.node = make("tr", { role: "row", "data-instance": name, tabindex: "-1" });
    for (const [column, label] of COLUMNS) {
      const cell = column === "name" ? make("th", { role: "rowheader", scope: "row" }) : make("td", { role: "cell" });
      cell.dataset.cell = column;
      cell.dataset.label = label;
      this.#cells[column] = cell;
    }
    this.#cells.name.append(make("b", {}, name), this.#models);
    this.#cells.state.append(make("span", { class: "state" }, this.#mark, this.#word));
    for (const button of this.#buttons) button.addEventListener("click", () => act(button.textContent, this.#info));
    copies(this.#copy, this.#command);
    this.node.append(...Object.values(this.#cells), this.#explanation);
  }

  site(info, acts) {
    this.#info = info;
    set(this.node, "data-level", info.level);
    put(this.#models, info.models.join(", "));
    put(this.#cells.host, `${info.host}:${info.port}`);
    set(this.#cells.host, "title", info.url);
    set(this.#cells.state, "data-state", info.state);
    set(this.#mark, "data-level", info.level);
    put(this.#word, info.state);
    this.#explain(info);
    put(this.#cells.restarts, short(info.restarts));
    set(this.#cells.restarts, "title", info.restart_reason ?? "");
    set(this.#cells.restarts, "data-level", info.restarts > 0 ? "warning" : "");
    this.#offer(info, acts);
  }

  tick(numbers) {
    const { requests, tokens, first_token, in_flight, ejections, errors, errors_total } = numbers ?? {};
    const cells = this.#cells;
    put(cells.in_flight, short(in_flight));
    put(cells.requests, rate(requests));
    put(cells.tokens, rate(tokens));
    put(cells.first_token, seconds(first_token));
    put(cells.errors, short(errors_total) + (errors > 0 ? ` (${rate(errors)}/s)` : ""));
    set(cells.errors, "data-level", errors > 0 ? "bad" : errors_total > 0 ? "warning" : "");
    put(cells.ejections, short(ejections));
    set(cells.ejections, "data-level", ejections > 0 ? "warning" : "");
  }

  // Shows what the state means, and the command that ends it.
  #explain({ level, state, meaning, command, host, load_seconds: load }) {
    this.#explanation.hidden = level === "good";
    put(this.#meaning, meaning.replaceAll("`", "") + (state === "asleep" && load ? `, in about ${roughly(load)}` : ""));
    put(this.#where, LOOPBACK.includes(host) ? "" : `on ${host}:`);
    put(this.#command, command ?? "");
    set(this.#copy, "aria-label", `Copy ${command}`);
    this.#cure.hidden = !command;
  }

  // Shows the actions that are possible now. Each button stays the same element, so that it keeps the focus when the state
  // changes and with it the action.
  #offer({ name, drained, state, on_demand: onDemand }, acts) {
    const verbs = [drained ? "Undrain" : "Drain", ...(onDemand ? [state.endsWith("asleep") ? "Wake" : "Sleep"] : [])];
    const shown = this.#buttons.slice(0, acts ? verbs.length : 0);
    shown.forEach((button, at) => {
      put(button, verbs[at]);
      set(button, "aria-label", verbs[at] === "Sleep" ? `Put ${name} to sleep` : `${verbs[at]} ${name}`);
    });
    arrange(this.#cells.act, shown);
  }
}
