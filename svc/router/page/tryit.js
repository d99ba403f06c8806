// One prompt, sent as any client would: the answer as it comes, who gave it and how fast.

import { byId, make, put } from "./dom.js";
import { curl } from "./curl.js";
import { NONE, rate, seconds, whole } from "./figures.js";
import { apiKey, authorization } from "./keys.js";
import { eventsOf } from "./sse.js";
import { reason } from "./stream.js";

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
    byId("copy").hidden = !navigator.clipboard;
    byId("copy").addEventListener("click", () => this.#copy());
  }

  site({ models, keyed }) {
    this.#keyed = keyed;
    const select = byId("model");
    const names = models.map(({ name }) => name);
    if (names.join("\n") !== [...select.options].map(({ value }) => value).join("\n")) {
      const chosen = select.value;
      select.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
      if (names.includes(chosen)) select.value = chosen;
    }
    this.#equal();
  }

  #request() {
    const stream = byId("streamed").checked;
    const messages = [{ role: "user", content: byId("prompt").value }];
    return { model: byId("model").value, messages, ...(stream ? { stream, stream_options: { include_usage: true } } : {}) };
  }

  #equal() {
    put(byId("curl"), curl(location.origin, this.#request(), this.#keyed || apiKey() !== ""));
  }

  async #copy() {
    await navigator.clipboard.writeText(byId("curl").textContent).catch(() => {});
    put(byId("copy"), "Copied");
    setTimeout(() => put(byId("copy"), "Copy"), 1500);
  }

  async #send() {
    this.#abort = new AbortController();
    put(byId("send"), "Stop");
    for (const fact of Object.values(this.#facts)) put(fact, NONE);
    const answer = new Answer(byId("answer"), this.#facts);
    try {
      await answer.ask(this.#request(), this.#abort.signal);
    } catch (error) {
      answer.fail(error.name === "AbortError" ? "stopped" : error.message);
    }
    answer.end();
    this.#abort = null;
    put(byId("send"), "Send");
  }
}

class Answer {
  #node;
  #facts;
  #text = document.createTextNode("");
  #began = performance.now();
  #first = 0; // ms, of the first token
  #tokens = 0; // chunks with text, until the usage is told
  #streamed = false;

  constructor(node, facts) {
    this.#node = node;
    this.#facts = facts;
    node.replaceChildren(this.#text);
    node.setAttribute("aria-busy", "true"); // told as a whole once it is there
  }

  async ask(request, signal) {
    const headers = { ...authorization(), "Content-Type": "application/json", "X-Served-By": "1" };
    const answer = await fetch("/v1/chat/completions", { method: "POST", headers, body: JSON.stringify(request), signal });
    put(this.#facts.instance, answer.headers.get("X-Served-By") ?? NONE);
    if (!answer.ok) throw new Error(`${answer.status}: ${await reason(answer)}`);
    this.#streamed = (answer.headers.get("Content-Type") ?? "").startsWith("text/event-stream");
    if (!this.#streamed) return this.#take(await answer.json());
    for await (const { data } of eventsOf(answer.body)) {
      if (data === "[DONE]") return;
      this.#take(JSON.parse(data));
    }
  }

  #take({ error, choices = [], usage }) {
    if (error) throw new Error(error.message ?? String(error));
    const { delta, message } = choices[0] ?? {};
    const said = delta ?? message ?? {};
    const text = (said.reasoning_content ?? "") + (said.content ?? "");
    if (text) this.#add(text);
    if (usage?.completion_tokens) this.#tokens = usage.completion_tokens;
  }

  #add(text) {
    if (!this.#first) {
      this.#first = performance.now();
      if (this.#streamed) put(this.#facts.first, seconds((this.#first - this.#began) / 1000));
    }
    const below = this.#node.scrollHeight - this.#node.scrollTop - this.#node.clientHeight < 24;
    this.#text.appendData(this.#text.length ? text : text.trimStart()); // many models begin with a blank
    this.#tokens += this.#streamed ? 1 : 0;
    if (below) this.#node.scrollTop = this.#node.scrollHeight;
  }

  fail(words) {
    this.#node.append(make("p", { class: "why" }, words));
  }

  end() {
    const now = performance.now();
    const spent = (now - (this.#streamed && this.#first ? this.#first : this.#began)) / 1000;
    const after = this.#streamed ? this.#tokens - 1 : this.#tokens; // the first one ends the wait, not the writing
    put(this.#facts.speed, after > 0 && spent > 0 ? rate(after / spent) : NONE);
    put(this.#facts.tokens, this.#tokens ? whole(this.#tokens) : NONE);
    put(this.#facts.total, seconds((now - this.#began) / 1000));
    this.#node.removeAttribute("aria-busy");
  }
}
