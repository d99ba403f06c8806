// A card for each model: its numbers and plots, and the number of its errors of each kind. If there are many models, a
// model that is healthy and idle has one line instead. The worst comes first.

import { arrange, byId, go, make, mark, put, set } from "./dom.js";
import { byName, count, whole, when } from "./figures.js";
import { Plots } from "./plots.js";
import { CALM, failedShare, hasTooManyFailures, rank } from "./verdict.js";

const MAX_CARDS = 6; // up to this number of models, each has a card
const MAX_UNKNOWN_NAMES = 5;
const REFUSALS = { 401: "no valid API key", 403: "not allowed", 404: "no such path", 413: "too large", 421: "wrong host" };

export class Models {
  #models = new Map();

  site({ models, instances, router }) {
    const levels = new Map(instances.map(({ name, level }) => [name, level]));
    const since = when(new Date(router.since * 1000));
    for (const model of models) this.#model(model.name).site(model, levels, since);
    const known = new Set(models.map(({ name }) => name));
    for (const [name, model] of this.#models) {
      if (known.has(name)) continue;
      model.end();
      this.#models.delete(name);
    }
    this.#place();
  }

  tick({ models, others }, history) {
    this.#others(others);
    for (const [name, model] of this.#models) model.tick(models[name], history.get(name));
    this.#place();
  }

  // Shows a model: its card, or its line.
  show = (name) => {
    const model = this.#models.get(name);
    if (model) go(model.node.isConnected ? model.node : model.line);
  };

  #place() {
    const all = [...this.#models.values()].sort((one, other) => rank(one.level) - rank(other.level) || byName(one.name, other.name));
    const quiet = all.length > MAX_CARDS ? all.filter(({ level, idle }) => CALM.includes(level) && idle) : [];
    const cards = quiet.length ? all.filter((model) => !quiet.includes(model)) : all;
    arrange(byId("models"), cards.map(({ node }) => node));
    arrange(byId("idle-models"), quiet.map(({ line }) => line));
    byId("idle").hidden = !quiet.length;
    put(byId("idle-count"), `${count(quiet.length, "model")}, no requests in 5 minutes`);
  }

  // Shows the errors of requests that belong to no card. Errors of clients are shown apart: they are no problem of the site.
  #others({ lately, names = {} }) {
    const [wrong, failed] = [true, false].map((isOfClients) => Object.entries(lately).filter(([kind]) => isOfClient(kind) === isOfClients));
    const problem = listed(Object.fromEntries(failed));
    put(byId("others"), problem ? `errors in 5 minutes, of requests for no model on this page: ${problem}` : "");
    const unknown = highestFirst(names);
    const refusals = unknown.slice(0, MAX_UNKNOWN_NAMES).map(([name, number]) => `${name}: ${whole(number)}, no such model`);
    if (unknown.length > MAX_UNKNOWN_NAMES) refusals.push(`${unknown.length - MAX_UNKNOWN_NAMES} more unknown names`);
    for (const [status, number] of wrong) refusals.push(`${status}: ${whole(number)}${REFUSALS[status] ? `, ${REFUSALS[status]}` : ""}`);
    put(byId("refused"), refusals.length ? `refused in 5 minutes: ${refusals.join("; ")}` : "");
  }

  #model(name) {
    if (!this.#models.has(name)) this.#models.set(name, new Model(name));
    return this.#models.get(name);
  }
}

const highestFirst = (counts) => Object.entries(counts).sort(([, one], [, other]) => other - one);

// Error kinds and their counts, the highest first.
const listed = (kinds) => highestFirst(kinds).map(([kind, number]) => `${kind} ×${whole(number)}`).join(", ");

const isOfClient = (kind) => /^4\d\d$/.test(kind);

const NO_REQUESTS = { requests: 0, failed: 0 };
// What happens to requests for a model that no healthy instance serves.
const FATES = {
  refused: ({ reason }) => `no healthy instance: requests get 503${because(reason)}`,
  tried: () => "no healthy instance: requests are sent to unhealthy ones",
  waits: () => "requests wait for an instance that is starting",
  replaced: ({ by }) => `served by its fallback ${by}`,
  asleep: ({ reason, waiting }) => (reason || waiting ? `requests wait until an instance is awake${because(reason)}` : ""),
};
const because = (reason) => (reason ? ` (${reason})` : "");
const MENDED = ["waits", "replaced", "asleep"]; // the fates with which requests get an answer all the same

// How many of a model's instances are healthy and asleep.
function ableOf(able, asleep, total) {
  if (asleep === total) return total === 1 ? "asleep" : `all ${total} asleep`;
  return `${able} of ${total} healthy${asleep ? `, ${asleep} asleep` : ""}`;
}

let made = 0;

class Model {
  level = "good";
  idle = false;
  #aliases = make("span", { class: "muted" });
  #able = make("span");
  #mark = mark("good");
  #state = make("span", { class: "able" }, this.#mark, this.#able);
  #alarm = make("p", { class: "alarm" });
  #load = make("span", { class: "load" });
  #kinds = make("span", { class: "kinds" });
  #ever = make("span", { class: "ever" });
  #lineAliases = make("span", { class: "muted" });
  #lineAble = make("span", { class: "able" });
  #lineMark = mark("good");
  #since = "";
  #health = "good";
  #fate = {};
  #waiting = 0;
  #minute = NO_REQUESTS;
  #plots;

  constructor(name) {
    this.name = name;
    const id = `model-${made++}`;
    const plots = make("div", { class: "plots" });
    this.node = make(
      "section",
      { class: "model", "aria-labelledby": id, tabindex: "-1" },
      make("div", { class: "head" }, make("h2", { id }, name), this.#aliases, this.#state),
      this.#alarm,
      plots,
      make("div", { class: "foot" }, this.#load, this.#kinds, this.#ever),
    );
    this.line = make("li", { "data-model": name, "data-level": "good", tabindex: "-1" }, this.#lineMark, make("b", {}, name), this.#lineAliases, this.#lineAble);
    this.#plots = new Plots(plots, name);
  }

  site({ aliases, instances, fate, by, reason }, levels, since) {
    this.#since = since;
    const [able, asleep] = ["good", "info"].map((level) => instances.filter((name) => levels.get(name) === level).length);
    const calm = able + asleep === instances.length && (able || fate === "asleep");
    this.#health = calm ? (able ? "good" : "info") : able || MENDED.includes(fate) ? "warning" : "bad";
    this.#fate = { fate, by, reason };
    const [also, healthy] = [aliases.length ? `also ${aliases.join(", ")}` : "", ableOf(able, asleep, instances.length)];
    put(this.#aliases, also);
    put(this.#lineAliases, also);
    put(this.#able, healthy);
    put(this.#lineAble, healthy);
    set(this.#state, "data-level", this.#health);
    set(this.#mark, "data-level", this.#health);
    set(this.line, "data-level", this.#health);
    set(this.#lineMark, "data-level", this.#health);
    this.#judge();
  }

  tick(numbers, past) {
    const { in_flight = 0, waiting = 0, kinds = {}, lately = {} } = numbers ?? {};
    this.#minute = numbers?.minute ?? NO_REQUESTS;
    this.#waiting = waiting;
    put(this.#load, `${whole(in_flight)} in flight, ${whole(waiting)} queued`);
    const [now, ever] = [lately, kinds].map(listed);
    put(this.#kinds, now ? `errors in 5 minutes: ${now}` : "no errors in 5 minutes");
    set(this.#kinds, "data-level", Object.keys(lately).every(isOfClient) ? "" : "bad");
    put(this.#ever, ever && ever !== now ? `since the router's start at ${this.#since}: ${ever}` : "");
    this.idle = !in_flight && !waiting && !past?.requests.some(Boolean);
    this.#judge();
    if (past) this.#plots.show(past, numbers);
  }

  end() {
    this.#plots.end();
  }

  #judge() {
    const failing = hasTooManyFailures(this.#minute);
    this.level = failing ? "bad" : this.#health;
    set(this.node, "data-level", this.level);
    const fate = FATES[this.#fate.fate]?.({ ...this.#fate, waiting: this.#waiting }) ?? "";
    put(this.#alarm, [fate, failing ? failedShare(this.#minute) : ""].filter(Boolean).join("; "));
  }
}
