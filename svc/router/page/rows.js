// One instance's row in the table. Only cells whose text has changed are updated.

import { make, mark, put, set } from "./dom.js";
import { rate, seconds, short } from "./figures.js";

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
  ["act", "drain"],
];

export class Row {
  #cells = {};
  #models = make("small", { class: "muted" });
  #word = make("span");
  #mark = mark("good");
  #meaning = make("td", { role: "cell", "data-cell": "meaning" });
  #button = make("button", { type: "button", class: "small" });
  #info;

  // act(instance) is called when the button is pressed.
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
    this.#button.addEventListener("click", () => act(this.#info));
    this.node.append(...Object.values(this.#cells), this.#meaning);
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
    put(this.#meaning, info.level === "good" ? "" : info.meaning.replaceAll("`", ""));
    this.#meaning.hidden = info.level === "good";
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

  #offer({ name, drained }, acts) {
    if (!acts) return this.#button.remove();
    const verb = drained ? "Undrain" : "Drain";
    put(this.#button, verb);
    set(this.#button, "aria-label", `${verb} ${name}`);
    if (!this.#button.isConnected) this.#cells.act.append(this.#button);
  }
}
