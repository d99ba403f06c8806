// An operator's actions on an instance, after a confirmation and with the operator's token: drain, undrain, wake, sleep.

import { arrange, byId, make, mark, put, set } from "./dom.js";
import { count, roughly } from "./figures.js";
import { authorization, operatorToken } from "./keys.js";
import { reason } from "./stream.js";

const TIMEOUT_MS = 15_000;
const MAX_FALLBACK_STEPS = 8; // the length of a chain of fallbacks, as in the router

const PATHS = {
  Drain: (name) => `/ui/drain/${name}`,
  Undrain: (name) => `/ui/undrain/${name}`,
  Wake: (name) => `/instances/${name}/wake`,
  Sleep: (name) => `/instances/${name}/sleep`,
};

const effect = (level, words) => ({ level, words });

export class Actions {
  #dialog = byId("action");
  #button = byId("action-do");
  #request = null; // {name, verb}
  #site;
  #shown = "";

  constructor(site) {
    this.#site = site;
    byId("action-cancel").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => {
      const back = document.activeElement !== document.body && !this.#dialog.contains(document.activeElement);
      if (!back) byId("instances").focus({ preventScroll: true }); // the row whose button opened the dialog is gone
    });
    this.#dialog.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(this.#request);
    });
  }

  ask = (verb, { name }) => this.#open({ name, verb }, "");

  // Updates the question while the dialog is open.
  refresh() {
    if (!this.#dialog.open) return;
    const { name, verb } = this.#request;
    const instance = this.#site.byName(name);
    this.#explain(instance ? this.#effects(verb, instance) : [effect("", "It is not registered any more.")]);
    this.#button.disabled = !instance || this.#request.sent === true;
  }

  #open(request, problem) {
    this.#request = request;
    put(byId("action-head"), questionOf(request));
    put(byId("action-error"), problem);
    put(this.#button, request.verb);
    this.#dialog.showModal();
    this.refresh();
    byId("action-cancel").focus();
    if (request.verb === "Wake" && !request.offer) this.#askOffer(request);
  }

  // Asks the router whether there is room for the instance of a request.
  async #askOffer(request) {
    request.offer = await json(`/ui/wake/${encodeURIComponent(request.name)}`);
    if (this.#request === request) this.refresh();
  }

  #explain(effects) {
    const shown = JSON.stringify(effects);
    if (shown === this.#shown) return;
    this.#shown = shown;
    arrange(byId("action-what"), effects.map(({ level, words }) => make("p", { "data-level": level }, ...(level ? [mark(level)] : []), words)));
    set(this.#button, "data-level", effects.some(({ level }) => level === "bad") ? "bad" : "");
  }

  #effects(verb, instance) {
    if (verb === "Drain") return this.#effectsOfDrain(instance.name);
    if (verb === "Sleep") return this.#effectsOfSleep(instance);
    return verb === "Wake" ? effectsOfWake(instance, this.#request.offer) : [effect("", "It gets requests again as soon as it is healthy.")];
  }

  #inFlight = (name) => this.#site.numbers.get(name)?.in_flight ?? 0;

  #effectsOfSleep({ name, models, load_seconds: load }) {
    const flying = this.#inFlight(name);
    const finish = flying ? `It finishes its ${count(flying, "request")}; then it` : "It";
    const again = models.length ? `A request for ${models.join(" or ")} wakes it again${load ? `, which takes about ${roughly(load)}` : ""}.` : "";
    return [effect("", `${finish} gives its GPU memory back. ${again}`)];
  }

  // Returns the effects of a drain: on the instance, and on the models that no other healthy instance has.
  #effectsOfDrain(name) {
    const flying = this.#inFlight(name);
    const finish = flying ? `It finishes its ${count(flying, "request")}, and` : "It";
    const alone = this.#site.snapshot.models.filter((model) => model.instances.includes(name) && !this.#able(model, name));
    return [effect("", `${finish} accepts no new requests until it is undrained.`), ...alone.map((model) => this.#without(model, name))];
  }

  #able = ({ instances }, but) => instances.some((other) => other !== but && this.#site.byName(other)?.level === "good");

  #without(model, but) {
    if (model.instances.some((other) => other !== but && this.#site.byName(other)?.state === "asleep")) return effect("warning", `Requests for ${model.name} wait until another of its instances is awake.`);
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
    } else if (this.#dialog.open) put(byId("action-error"), this.#request === request ? problem : `${request.verb} ${request.name}: ${problem}`);
    else this.#open(request, problem);
  }
}

const questionOf = ({ verb, name }) => (verb === "Sleep" ? `Put ${name} to sleep?` : `${verb} ${name}?`);

// `offer`: whether there is room, as the babysitter knows it; undefined or null while that is unknown.
function effectsOfWake({ load_seconds: load }, offer) {
  const loads = effect("", `It loads its model${load ? `, which takes about ${roughly(load)}` : ""}.`);
  if (!offer) return [loads, effect("", "If its GPUs have no room, idle instances on demand are put to sleep first.")];
  if (offer.now) return [loads, effect("", "There is room for it.")];
  if (offer.possible) return [loads, effect("warning", `Others have to make room: ${offer.reason}.`)];
  return [effect("bad", `It cannot be woken now: ${offer.reason}.`)];
}

const headers = () => ({ ...authorization(), "X-Operator-Token": operatorToken() });

// Returns the JSON at a path, null if there is none.
async function json(path) {
  try {
    const answer = await fetch(path, { headers: headers(), signal: AbortSignal.timeout(TIMEOUT_MS) });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

// Sends the request of an action; returns the error message, "" for success.
async function ask({ verb, name }) {
  try {
    const answer = await fetch(PATHS[verb](encodeURIComponent(name)), { method: "POST", headers: headers(), signal: AbortSignal.timeout(TIMEOUT_MS) });
    return answer.ok ? "" : await reason(answer);
  } catch {
    return "The router does not answer; try again.";
  }
}
