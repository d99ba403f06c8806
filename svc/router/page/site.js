// The data that the router has sent so far. This module does not draw.

const MAX_EVENTS = 200;
const PLOT_SECONDS = 300;
const SERIES = ["requests", "errors", "first_token", "tokens"];

export class Site {
  snapshot = null; // the last message `site`
  tick = null; // the last message `tick`
  numbers = new Map(); // instance -> its numbers
  history = new Map(); // model -> {time: [], requests: [], ...}
  events = []; // oldest first
  gpus = new Map(); // host -> its GPUs
  version = ""; // of the router that served this page
  #fresh = true;

  // Prepares for a new event stream, which sends all events again.
  begin() {
    this.#fresh = true;
  }

  // Stores a message, and returns the names of the instances to draw again.
  take(name, data) {
    if (name === "site") return this.#site(data);
    if (name === "tick") return this.#tick(data);
    if (name === "history") this.#history(data);
    if (name === "events") this.#events(data.events);
    if (name === "gpus") this.#gpus(data);
    return [];
  }

  instances = () => this.snapshot?.instances ?? [];

  byName = (name) => this.instances().find((instance) => instance.name === name);

  #site(data) {
    this.snapshot = data;
    this.version ||= data.version;
    const names = data.instances.map(({ name }) => name);
    const known = new Set(names);
    for (const name of this.numbers.keys()) if (!known.has(name)) this.numbers.delete(name);
    return names;
  }

  #tick(data) {
    this.tick = data;
    for (const [name, numbers] of Object.entries(data.instances)) this.numbers.set(name, numbers);
    for (const [name, model] of Object.entries(data.models)) this.#point(name, data.time, model);
    return Object.keys(data.instances);
  }

  #point(model, time, numbers) {
    if (!this.history.has(model)) this.history.set(model, { time: [], ...empty() });
    const past = this.history.get(model);
    const last = past.time.at(-1);
    if (last > time + 5) for (const list of Object.values(past)) list.length = 0; // the router's clock was set back
    else if (last >= time) return;
    past.time.push(time);
    for (const name of SERIES) past[name].push(numbers[name]);
    const old = past.time.findIndex((at) => at >= time - PLOT_SECONDS);
    if (old > 0) for (const list of Object.values(past)) list.splice(0, old);
  }

  #history({ every, end, models }) {
    this.history.clear();
    for (const [name, series] of Object.entries(models)) {
      const length = series.requests.length;
      const time = Array.from({ length }, (_, at) => end - (length - 1 - at) * every);
      this.history.set(name, { time, ...empty(), ...structuredClone(series) });
    }
  }

  // Stores the hosts that have changed, and drops those that are not listed any more.
  #gpus({ hosts, changed }) {
    this.gpus = new Map(hosts.map((host) => [host, changed[host] ?? this.gpus.get(host)]).filter(([, gpus]) => gpus));
  }

  #events(events) {
    const last = this.#fresh ? -1 : (this.events.at(-1)?.id ?? -1);
    const kept = this.#fresh ? [] : this.events;
    this.events = [...kept, ...events.filter(({ id }) => id > last)].slice(-MAX_EVENTS);
    this.#fresh = false;
  }
}

const empty = () => Object.fromEntries(SERIES.map((name) => [name, []]));
