// The GPUs of each host: how full and how busy each one is, and which instances hold its memory.

import { arrange, byId, make, mark, put, set } from "./dom.js";
import { byName, count, gigabytes, percent, whole } from "./figures.js";

const FULL = 0.97; // with this share of its memory in use, a GPU has no room for another model
const MAX_OPEN_HOSTS = 4; // with more hosts, only those with a problem are open at first
const MAX_STRANGERS = 3; // processes of no instance that one GPU lists

export class Gpus {
  #hosts = new Map();
  #table;

  constructor(table) {
    this.#table = table;
  }

  // hosts: a map from the name of a host to its GPUs. Hosts with a problem come first.
  show(hosts) {
    for (const name of this.#hosts.keys()) if (!hosts.has(name)) this.#hosts.delete(name);
    const names = [...hosts.keys()].sort((one, other) => hasProblem(hosts.get(other)) - hasProblem(hosts.get(one)) || byName(one, other));
    const few = names.length <= MAX_OPEN_HOSTS;
    arrange(byId("gpu-hosts"), names.map((name) => this.#host(name, few || hasProblem(hosts.get(name))).show(hosts.get(name))));
    byId("gpus").hidden = byId("gpus-link").hidden = names.length === 0;
    put(byId("gpus-sum"), names.length > 1 ? `${names.length} hosts, ${summaryOf(names.flatMap((name) => hosts.get(name).gpus))}` : "");
  }

  #host(name, open) {
    if (!this.#hosts.has(name)) this.#hosts.set(name, new Host(name, open, this.#table));
    return this.#hosts.get(name);
  }
}

const hasProblem = ({ gpus, problem }) => problem !== "" || gpus.some(({ errors, fault }) => errors > 0 || fault);

const sum = (values) => values.reduce((one, other) => one + other, 0);

// Returns the sums of several GPUs, such as "8 GPUs: 412 of 640 GB in use, 45 % busy".
export function summaryOf(gpus) {
  if (!gpus.length) return "no GPUs";
  const total = sum(gpus.map((gpu) => gpu.total));
  const used = `${gigabytes(sum(gpus.map((gpu) => gpu.used)))}${total ? ` of ${gigabytes(total)}` : ""} GB in use`;
  const known = gpus.map(({ utilization }) => utilization).filter((share) => share !== null);
  return `${count(gpus.length, "GPU")}: ${used}${known.length ? `, ${percent(sum(known) / known.length)} busy` : ""}`;
}

// One host: a line with its sums and a small bar for each GPU, and, while it is open, a tile for each GPU.
class Host {
  #name;
  #kinds = make("span", { class: "muted gpu-names" });
  #sum = make("span", { class: "muted" });
  #bars = make("span", { class: "bars", "aria-hidden": "true" });
  #problem = make("span", { class: "problem", "data-level": "bad" });
  #list;
  #tiles = [];
  #table;
  #host = null;

  constructor(name, open, table) {
    this.#name = name;
    this.#table = table;
    this.#list = make("ul", { class: "gpus", role: "list", "aria-label": `GPUs of ${name}` });
    const line = make("summary", {}, this.#bars, make("b", {}, name), " ", this.#sum, " ", this.#kinds, " ", this.#problem);
    this.node = make("details", { class: "gpu-host", "data-host": name, ...(open ? { open: "" } : {}) }, line, this.#list);
    this.node.addEventListener("toggle", () => this.#drawTiles());
  }

  show(host) {
    if (host !== this.#host) this.#draw(host);
    else for (const tile of this.#tiles) tile.lead(this.#table);
    return this.node;
  }

  #draw(host) {
    this.#host = host;
    const { gpus, problem } = host;
    put(this.#kinds, this.#kindsOf().join(", "));
    put(this.#sum, summaryOf(gpus));
    const faulty = gpus.filter(({ fault }) => fault).length;
    drawProblems(this.#problem, [errorsOf(gpus), faulty && `${count(faulty, "GPU")} with a fault`, problem]);
    arrange(this.#bars, gpus.map((gpu, at) => drawBar(this.#bars.children[at] ?? make("span", { class: "memory" }), gpu)));
    this.#drawTiles();
  }

  #kindsOf = () => [...new Set(this.#host.gpus.map(({ name }) => name))].filter(Boolean);

  #drawTiles() {
    if (!this.node.open) return;
    const { gpus } = this.#host;
    while (this.#tiles.length < gpus.length) this.#tiles.push(new Tile(this.#name));
    this.#tiles.length = gpus.length;
    const named = this.#kindsOf().length > 1;
    this.#tiles.forEach((tile, at) => {
      tile.show(gpus[at], named);
      tile.lead(this.#table);
    });
    arrange(this.#list, this.#tiles.map(({ node }) => node));
  }
}

const errorsOf = (gpus) => {
  const errors = sum(gpus.map((gpu) => gpu.errors ?? 0));
  return errors && count(errors, "error");
};

// Shows the texts of problems, those that are not empty, after one mark; nothing if there are none.
function drawProblems(node, texts) {
  const words = texts.filter(Boolean).join("; ");
  node.replaceChildren(...(words ? [mark("bad"), words] : []));
}

// Draws the memory of a GPU in use as parts of a bar, whose whole length is its total memory; returns the bar.
function drawBar(bar, { used, total, held, strangers }) {
  const parts = partsOf(used, held, strangers);
  const whole = total || used || 1;
  set(bar, "data-full", String(total > 0 && used >= FULL * total));
  arrange(bar, parts.map((_, at) => bar.children[at] ?? make("span")));
  parts.forEach(({ kind, bytes }, at) => {
    set(bar.children[at], "data-part", kind);
    bar.children[at].style.width = `${(100 * bytes) / whole}%`;
  });
  return bar;
}

class Tile {
  #host;
  #index = make("b");
  #busy = make("span");
  #name = make("small", { class: "muted" });
  #bar = make("div", { class: "memory", role: "meter", "aria-valuemin": "0" });
  #memory = make("span");
  #heat = make("span", { class: "muted" });
  #problem = make("p", { class: "problem", "data-level": "bad" });
  #holders = make("ul", { class: "holders", role: "list", "aria-label": "Memory in use by" });
  #buttons = [];

  constructor(host) {
    this.#host = host;
    this.node = make("li", { class: "gpu" }, make("div", { class: "line" }, this.#index, this.#busy), this.#name, this.#bar, make("div", { class: "line" }, this.#memory, this.#heat), this.#problem, this.#holders);
  }

  show(gpu, named) {
    put(this.#index, `GPU ${gpu.index}`);
    put(this.#busy, gpu.utilization === null ? "" : `${percent(gpu.utilization)} busy`);
    put(this.#name, named ? gpu.name : "");
    const memory = `${gigabytes(gpu.used)}${gpu.total ? ` of ${gigabytes(gpu.total)}` : ""} GB`;
    put(this.#memory, memory);
    put(this.#heat, [gpu.temperature === null ? "" : `${gpu.temperature}\u00a0°C`, gpu.power === null ? "" : `${whole(gpu.power)}\u00a0W`].filter(Boolean).join(" · "));
    set(this.node, "data-level", gpu.errors || gpu.fault ? "bad" : "");
    drawProblems(this.#problem, [errorsOf([gpu]), gpu.fault]);
    this.#meter(gpu, memory);
    this.#list(gpu);
  }

  // Lets the name of each instance lead to its row, if it has one.
  lead(table) {
    for (const button of this.#buttons) {
      const name = button.textContent;
      button.disabled = !table.has(name);
      button.onclick = () => table.show(name);
    }
  }

  #meter(gpu, memory) {
    const { index, used, total } = gpu;
    set(this.#bar, "aria-label", `Memory of GPU ${index} of ${this.#host}`);
    set(this.#bar, "aria-valuemax", String(total || used || 1));
    set(this.#bar, "aria-valuenow", String(used));
    set(this.#bar, "aria-valuetext", total ? `${memory}, ${percent(used / total)}` : memory);
    drawBar(this.#bar, gpu);
  }

  #list({ held, strangers }) {
    const text = (bytes) => (bytes === null ? "" : ` ${gigabytes(bytes)}\u00a0GB`);
    const owners = Object.keys(held).sort((one, other) => held[other] - held[one] || byName(one, other));
    this.#buttons = owners.map((name) => make("button", { type: "button", class: "plain" }, name));
    const lines = this.#buttons.map((button, at) => make("li", {}, button, text(held[owners[at]])));
    const others = [...strangers].sort((one, other) => other.memory - one.memory);
    for (const { pid, command, memory } of others.slice(0, MAX_STRANGERS)) lines.push(make("li", { class: "muted", title: `no instance has this process: ${command}` }, `pid ${pid} ${nameOf(command)}${text(memory)}`));
    if (others.length > MAX_STRANGERS) lines.push(make("li", { class: "muted" }, `and ${count(others.length - MAX_STRANGERS, "process")} more`));
    arrange(this.#holders, lines);
  }
}

// Returns the name of the program in a command line.
const nameOf = (command) => command.split(" ")[0].split("/").at(-1) || "";

// Returns the parts of a bar of `used` bytes: those of instances, those of other processes, and the rest. If the processes
// report more memory than the GPU does, their parts are smaller in proportion.
export function partsOf(used, held, strangers) {
  const parts = [
    ...Object.values(held).map((bytes) => ({ kind: "instance", bytes })),
    ...strangers.map(({ memory }) => ({ kind: "stranger", bytes: memory })),
  ].filter(({ bytes }) => bytes > 0);
  const reported = sum(parts.map(({ bytes }) => bytes));
  if (reported > used) return parts.map(({ kind, bytes }) => ({ kind, bytes: (bytes * used) / reported }));
  return used > reported ? [...parts, { kind: "rest", bytes: used - reported }] : parts;
}
