// The form that sends one prompt as any client would, and shows the answer.

import { Answer } from "./answer.js";
import { curl } from "./curl.js";
import { byId, copies, make, put } from "./dom.js";
import { NONE } from "./figures.js";
import { apiKey } from "./keys.js";

// The messages for errors whose own message depends on the browser, by name of the error
const WORDS = { AbortError: "stopped", TypeError: "The router does not answer.", SyntaxError: "The answer is no JSON." };
const FACTS = { instance: "instance", first: "first token", speed: "tokens a second", tokens: "tokens", total: "total" };

export class TryIt {
  #form = byId("tryit");
  #facts = {};
  #abort = null;
  #keyed = false;

  constructor() {
    for (const [name, label] of Object.entries(FACTS)) {
      this.#facts[name] = make("dd", { "data-fact": name }, NONE);
      byId("facts").append(make("div", {}, make("dt", {}, label), this.#facts[name]));
    }
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#abort) this.#abort.abort();
      else this.#send();
    });
    this.#form.addEventListener("input", () => this.#equal());
    byId("prompt").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !this.#abort) this.#form.requestSubmit();
    });
    copies(byId("copy"), byId("curl"));
  }

  site({ models, keyed }) {
    this.#keyed = keyed;
    const chosen = byId("model").value;
    const names = models.flatMap(({ name, aliases }) => [name, ...aliases]);
    const shown = names.map((name) => [name, name]);
    if (chosen && !names.includes(chosen)) shown.push([chosen, `${chosen} (no instance has it)`]); // keep the user's choice
    this.#offer(shown, chosen);
    this.#equal();
  }

  #offer(shown, chosen) {
    const select = byId("model");
    if (shown.map(String).join("\n") === [...select.options].map(({ value, text }) => String([value, text])).join("\n")) return;
    select.replaceChildren(...shown.map(([name, text]) => make("option", { value: name }, text)));
    if (chosen) select.value = chosen;
    byId("send").disabled = !shown.length && !this.#abort;
  }

  #request() {
    const stream = byId("streamed").checked;
    const messages = [{ role: "user", content: byId("prompt").value }];
    return { model: byId("model").value, messages, ...(stream ? { stream, stream_options: { include_usage: true } } : {}) };
  }

  #equal() {
    put(byId("curl"), curl(location.origin, this.#request(), this.#keyed || apiKey() !== ""));
  }

  async #send() {
    this.#abort = new AbortController();
    put(byId("send"), "Stop");
    for (const fact of Object.values(this.#facts)) put(fact, NONE);
    const answer = new Answer(byId("answer"), this.#facts);
    try {
      await answer.ask(this.#request(), this.#abort.signal);
    } catch (error) {
      answer.fail(WORDS[error.name] ?? error.message);
    }
    answer.end();
    this.#abort = null;
    put(byId("send"), "Send");
  }
}
