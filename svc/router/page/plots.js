// Small live plots, one set for each model. Each plot has its scale above it, and its time span below it.

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { make, put } from "./dom.js";
import { ceiling, rate, seconds, timeOf } from "./figures.js";

const HEIGHT = 56;
const PLOT_SECONDS = 300;
const PLOTS = [
  { label: "requests/s", series: ["requests", "errors"], colours: ["--line", "--bad"], figure: rate },
  { label: "first token", series: ["first_token"], colours: ["--line-2"], figure: seconds },
  { label: "tokens/s", series: ["tokens"], colours: ["--line-3"], figure: rate },
];

const scheme = matchMedia("(prefers-color-scheme: dark)");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

export class Plots {
  #plots;
  #past = null;
  #visible = false;
  #ends;

  constructor(parent, model) {
    this.#plots = PLOTS.map((kind) => new Plot(kind, model));
    parent.append(...this.#plots.map(({ figure }) => figure));
    const sight = new IntersectionObserver((entries) => {
      this.#visible = entries.at(-1).isIntersecting;
      this.#draw();
    });
    const size = new ResizeObserver(() => this.#plots.forEach((plot) => plot.fit()));
    const recolour = () => this.#plots.forEach((plot) => plot.recolour());
    sight.observe(parent);
    size.observe(parent);
    scheme.addEventListener("change", recolour);
    this.#ends = () => {
      sight.disconnect();
      size.disconnect();
      scheme.removeEventListener("change", recolour);
    };
  }

  // Releases the observers and plots, once the model is gone.
  end() {
    this.#ends();
    this.#plots.forEach((plot) => plot.end());
  }

  show(past, now) {
    this.#past = past;
    this.#plots.forEach((plot) => plot.say(now));
    this.#draw();
  }

  #draw() {
    if (this.#visible && this.#past) this.#plots.forEach((plot) => plot.draw(this.#past));
  }
}

// Returns the values, or nulls if all are zero, so that no line is drawn along the bottom.
const unlessNone = (list) => (list.some(Boolean) ? list : list.map(() => null));

class Plot {
  #kind;
  #model;
  #now = make("strong", {}, "–");
  #also = make("span", { class: "also" });
  #scale = make("div", { class: "scale" });
  #box = make("div", { class: "plot", "aria-hidden": "true" });
  #top = 1; // the upper end of the scale
  #chart = null;
  #numbers = null;

  constructor(kind, model) {
    this.#kind = kind;
    this.#model = model;
    const caption = make("figcaption", {}, make("span", {}, kind.label), make("span", {}, this.#now, this.#also));
    const span = make("div", { class: "span" }, make("span", {}, `${PLOT_SECONDS / 60} min ago`), make("span", {}, "now"));
    this.figure = make("figure", {}, caption, this.#scale, this.#box, span);
  }

  say(numbers) {
    this.#numbers = numbers;
    if (this.#chart?.cursor.idx == null) this.#tell((name) => numbers?.[name], "");
  }

  draw(past) {
    const data = [past.time, ...this.#kind.series.map((name) => (name === "errors" ? unlessNone(past[name]) : past[name]))];
    const most = Math.max(0, ...data.slice(1).flat());
    this.#top = ceiling(most);
    put(this.#scale, most ? `0 to ${this.#kind.figure(this.#top).replace(/\.0+(?!\d)/, "")}` : ""); // 1.0 is 1 on a scale
    if (!this.#chart) this.#chart = new uPlot(this.#options(), data, this.#box);
    else this.#chart.setData(data);
  }

  fit() {
    const width = this.#box.clientWidth;
    if (this.#chart && width && width !== this.#chart.width) this.#chart.setSize({ width, height: HEIGHT });
  }

  recolour() {
    this.#chart?.redraw(false);
  }

  end() {
    this.#chart?.destroy();
  }

  #tell(valueOf, when) {
    const [first, second] = this.#kind.series;
    put(this.#now, this.#kind.figure(valueOf(first)));
    const errors = second && valueOf(second) > 0 ? `${rate(valueOf(second))} errors/s` : "";
    put(this.#also, [errors, when].filter(Boolean).join(" "));
    this.#also.dataset.level = errors ? "bad" : "";
  }

  #point({ cursor: { idx }, data }) {
    if (idx == null) this.say(this.#numbers);
    else this.#tell((name) => data[1 + this.#kind.series.indexOf(name)][idx], `at ${timeOf(new Date(data[0][idx] * 1000))}`);
  }

  #options() {
    const line = (name) => ({
      stroke: () => colour(name),
      fill: name === "--bad" ? undefined : () => colour(`${name}-fill`),
      width: 1.5,
      points: { show: false },
      spanGaps: false,
    });
    return {
      width: this.#box.clientWidth || 200,
      height: HEIGHT,
      padding: [3, 1, 1, 1],
      legend: { show: false },
      axes: [{ show: false }, { show: false }],
      cursor: { y: false, drag: { setScale: false, x: false }, points: { size: 5 }, sync: { key: this.#model } },
      scales: {
        x: { time: true, range: (_, __, end) => [end - PLOT_SECONDS, end] },
        y: { range: () => [0, this.#top] },
      },
      series: [{}, ...this.#kind.colours.map(line)],
      hooks: { setCursor: [(chart) => this.#point(chart)] },
    };
  }
}
