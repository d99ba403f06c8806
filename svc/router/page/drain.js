// Drain and undrain, asked for once more and done with the operator's token.

import { byId, put } from "./dom.js";
import { count } from "./figures.js";
import { authorization, operatorToken } from "./keys.js";
import { reason } from "./stream.js";

export class Drain {
  #dialog = byId("drain");
  #button = byId("drain-do");
  #asked = null; // {name, verb}
  #site;

  constructor(site) {
    this.#site = site;
    byId("drain-cancel").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  ask = ({ name, drained }) => {
    const verb = drained ? "Undrain" : "Drain";
    this.#asked = { name, verb };
    put(byId("drain-head"), `${verb} ${name}?`);
    put(byId("drain-what"), drained ? "It gets requests again as soon as it is healthy." : this.#loss(name));
    put(byId("drain-error"), "");
    put(this.#button, verb);
    this.#dialog.showModal();
    byId("drain-cancel").focus();
  };

  // What draining it takes away.
  #loss(name) {
    const flying = this.#site.numbers.get(name)?.in_flight ?? 0;
    const finish = flying ? `It finishes its ${count(flying, "request")} and` : "It";
    const alone = this.#site.told.models.filter((model) => model.instances.includes(name) && !this.#others(model, name));
    const nobody = alone.length ? ` Nobody else answers for ${alone.map((model) => model.name).join(", ")}: such requests will fail.` : "";
    return `${finish} gets nothing new until somebody undrains it.${nobody}`;
  }

  #others = (model, name) => model.instances.some((other) => other !== name && this.#site.byName(other)?.level === "good");

  async #send() {
    const { name, verb } = this.#asked;
    this.#button.disabled = true;
    const problem = await ask(verb.toLowerCase(), name);
    this.#button.disabled = false;
    if (this.#asked.name !== name || this.#asked.verb !== verb) return;
    if (problem) put(byId("drain-error"), problem);
    else this.#dialog.close();
  }
}

// What went wrong, or "".
async function ask(verb, name) {
  try {
    const headers = { ...authorization(), "X-Operator-Token": operatorToken() };
    const answer = await fetch(`/ui/${verb}/${encodeURIComponent(name)}`, { method: "POST", headers });
    return answer.ok ? "" : await reason(answer);
  } catch {
    return "The router does not answer; try again.";
  }
}
