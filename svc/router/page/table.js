// The table of instances. First come those that are not healthy, the worst first, then the others of each host: those that
// are healthy, and those that are asleep.

import { arrange, byId, go, keepFocus, make, put, set } from "./dom.js";
import { byName, count } from "./figures.js";
import { COLUMNS, Row } from "./rows.js";
import { CALM, rank } from "./verdict.js";

const NOT_HEALTHY = ""; // the key of the group of all unhealthy instances: no host has this name

export class Table {
  #table = byId("instances");
  #rows = new Map();
  #groups = new Map();
  #sought = "";
  #site = null;
  #act;

  constructor(act) {
    this.#act = act;
    const heads = COLUMNS.map(([column, label]) => make("th", { role: "columnheader", scope: "col", "data-cell": column }, label));
    this.#table.append(make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)));
    byId("find").addEventListener("input", (event) => {
      this.#sought = event.target.value.trim().toLowerCase();
      this.#place();
    });
  }

  // Returns the row of an instance, or of a babysitter's instance; undefined if there is none.
  has = (name) => this.#rows.get(name) ?? this.#rows.get(`${name}-server`);

  show = (name) => {
    const row = this.has(name);
    if (!row) return;
    if (!row.node.isConnected) {
      byId("find").value = this.#sought = "";
      this.#place();
    }
    go(row.node);
  };

  // `acts`: whether the rows have buttons to drain
  site(site, acts) {
    this.#site = site;
    set(this.#table, "data-acts", String(acts));
    const known = new Set();
    for (const instance of site.instances) {
      known.add(instance.name);
      if (!this.#rows.has(instance.name)) this.#rows.set(instance.name, new Row(instance.name, this.#act));
      this.#rows.get(instance.name).site(instance, acts);
    }
    for (const name of this.#rows.keys()) if (!known.has(name)) this.#rows.delete(name);
    this.#place();
  }

  tick(names, numbers) {
    for (const name of names) this.#rows.get(name)?.tick(numbers.get(name));
  }

  #place() {
    keepFocus(this.#table, () => this.#arrange()); // a row may move from one group to another
  }

  #arrange() {
    const matching = this.#site.instances.filter((instance) => wanted(instance, this.#sought));
    const groups = grouped(matching).map(([key, instances]) => this.#group(key).show(instances, this.#rows));
    const hosts = new Set(this.#site.instances.map(({ host }) => host));
    for (const key of this.#groups.keys()) if (key !== NOT_HEALTHY && !hosts.has(key)) this.#groups.delete(key);
    arrange(this.#table, [this.#table.tHead, ...groups]);
    byId("none").hidden = matching.length > 0;
    put(byId("found"), this.#sought ? `${matching.length} of ${this.#site.instances.length}` : "");
  }

  #group(key) {
    if (!this.#groups.has(key)) this.#groups.set(key, new Group(key));
    return this.#groups.get(key);
  }
}

class Group {
  #summary = make("span", { class: "muted" });
  #head;

  constructor(key) {
    const host = key === NOT_HEALTHY ? "not healthy" : key;
    const cell = make("th", { role: "rowheader", scope: "rowgroup", colspan: String(COLUMNS.length) }, make("span", { class: "host" }, host), this.#summary);
    this.#head = make("tr", { role: "row", class: "group" }, cell);
    this.node = make("tbody", { role: "rowgroup", "data-host": key });
  }

  show(instances, rows) {
    const states = new Map();
    for (const { state } of instances) states.set(state, (states.get(state) ?? 0) + 1);
    const words = states.size === 1 && instances.length === 1 ? "" : [...states].map(([state, number]) => `${number} ${state}`).join(", ");
    put(this.#summary, words || count(1, "instance"));
    arrange(this.node, [this.#head, ...instances.map(({ name }) => rows.get(name).node)]);
    return this.node;
  }
}

const wanted = ({ name, host, port, models, state }, sought) =>
  !sought || [name, `${host}:${port}`, state, ...models].some((text) => text.toLowerCase().includes(sought));

// Returns pairs of a group's key and its instances. First comes the group of the unhealthy instances, the worst first, then
// a group for each host, which has those that are healthy before those that are asleep. Within the same level, instances
// are sorted by name.
export function grouped(instances) {
  const sorted = [...instances].sort((one, other) => rank(one.level) - rank(other.level) || byName(one.name, other.name));
  const groups = new Map();
  for (const instance of sorted) {
    const key = CALM.includes(instance.level) ? instance.host : NOT_HEALTHY;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(instance);
  }
  return [...groups].sort(([one], [other]) => byName(one, other)); // the empty key comes first
}
