// Drain and undrain, after a confirmation and with the operator's token.

import { arrange, byId, make, mark, put, set } from "./dom.js";
import { count } from "./figures.js";
import { authorization, operatorToken } from "./keys.js";
import { reason } from "./stream.js";

const TIMEOUT_MS = 15_000;
const MAX_FALLBACK_STEPS = 8; // the length of a chain of fallbacks, as in the router

const effect = (level, words) => ({ level, words });

export class Drain {
  #dialog = byId("drain");
  #button = byId("drain-do");
  #request = null; // {name, verb}
  #site;
  #shown = "";

  constructor(site) {
    this.#site = site;
    byId("drain-cancel").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => {
      const back = document.activeElement !== document.body && !this.#dialog.contains(document.activeElement);
      if (!back) byId("instances").focus({ preventScroll: true }); // the row whose button opened the dialog is gone
    });
    this.#dialog.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(this.#request);
    });
  }

  ask = ({ name, drained }) => this.#open({ name, verb: drained ? "Undrain" : "Drain" }, "");

  // Updates the question while the dialog is open.
  refresh() {
    if (!this.#dialog.open) return;
    const { name, verb } = this.#request;
    const there = this.#site.byName(name);
    const effects = !there ? [effect("", "It is not registered any more.")] : verb === "Drain" ? this.#effects(name) : [effect("", "It gets requests again as soon as it is healthy.")];
    this.#explain(effects);
    this.#button.disabled = !there || this.#request.sent === true;
  }

  #open(request, problem) {
    this.#request = request;
    put(byId("drain-head"), `${request.verb} ${request.name}?`);
    put(byId("drain-error"), problem);
    put(this.#button, request.verb);
    this.#dialog.showModal();
    this.refresh();
    byId("drain-cancel").focus();
  }

  #explain(effects) {
    const shown = JSON.stringify(effects);
    if (shown === this.#shown) return;
    this.#shown = shown;
    arrange(byId("drain-what"), effects.map(({ level, words }) => make("p", { "data-level": level }, ...(level ? [mark(level)] : []), words)));
    set(this.#button, "data-level", effects.some(({ level }) => level === "bad") ? "bad" : "");
  }

  // Returns the effects of a drain: on the instance, and on the models that no other healthy instance has.
  #effects(name) {
    const flying = this.#site.numbers.get(name)?.in_flight ?? 0;
    const finish = flying ? `It finishes its ${count(flying, "request")}, and` : "It";
    const alone = this.#site.snapshot.models.filter((model) => model.instances.includes(name) && !this.#able(model, name));
    return [effect("", `${finish} accepts no new requests until it is undrained.`), ...alone.map((model) => this.#without(model))];
  }

  #able = ({ instances }, but) => instances.some((other) => other !== but && this.#site.byName(other)?.level === "good");

  #without(model) {
    let other = model;
    for (let step = 0; step < MAX_FALLBACK_STEPS && other; step++) {
      other = this.#site.snapshot.models.find(({ name }) => name === other.fallback);
      if (other && this.#able(other)) return effect("warning", `Requests for ${model.name} go to its fallback ${other.name}.`);
    }
    return effect("bad", `No other healthy instance serves ${model.name}: requests for it will fail.`);
  }

  // Sends the request. An error is shown even if the dialog was closed meanwhile, or shows another instance.
  async #send(request) {
    request.sent = true;
    this.refresh();
    const problem = await ask(request);
    request.sent = false;
    this.refresh();
    if (!problem) {
      if (this.#request === request) this.#dialog.close();
    } else if (this.#dialog.open) put(byId("drain-error"), this.#request === request ? problem : `${request.verb} ${request.name}: ${problem}`);
    else this.#open(request, problem);
  }
}

// Sends a request to drain or undrain; returns the error message, "" for success.
async function ask({ verb, name }) {
  try {
    const headers = { ...authorization(), "X-Operator-Token": operatorToken() };
    const path = `/ui/${verb.toLowerCase()}/${encodeURIComponent(name)}`;
    const answer = await fetch(path, { method: "POST", headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
    return answer.ok ? "" : await reason(answer);
  } catch {
    return "The router does not answer; try again.";
  }
}
