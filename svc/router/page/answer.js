// One answer of a model as it streams: its text, its reasoning, its instance and its speed.

import { make, put } from "./dom.js";
import { NONE, rate, seconds, whole } from "./figures.js";
import { authorization } from "./keys.js";
import { eventsOf } from "./sse.js";
import { reason } from "./stream.js";

const UPDATE_INTERVAL_MS = 100; // between two updates of the text: each costs a layout of the paragraph
const MAX_PARAGRAPH_CHARS = 2000; // after which a line's end begins a new paragraph, so that a layout stays cheap

export class Answer {
  #node;
  #facts;
  #block = null; // the text node to which new text is added
  #thinks = false;
  #gathered = "";
  #timer = 0;
  #began = performance.now();
  #first = 0; // when the first token arrived, in ms
  #tokens = 0; // from the usage; until that arrives, the number of chunks with text
  #streamed = false;
  #end = ""; // the finish_reason
  #tools = false;

  constructor(node, facts) {
    this.#node = node;
    this.#facts = facts;
    node.replaceChildren();
    node.setAttribute("aria-busy", "true"); // a screen reader reads the answer once it is complete
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
    if (!this.#end) throw new Error("The answer ended before it was complete.");
  }

  fail(words) {
    this.#flush();
    this.#note("why", words);
  }

  end() {
    this.#flush();
    if (this.#end === "length") this.#note("muted", "The answer ended at the limit of tokens.");
    if (this.#tools) this.#note("muted", "The model calls a tool; this page does not run tools.");
    this.#showSpeed();
    put(this.#facts.total, seconds((performance.now() - this.#began) / 1000));
    this.#node.removeAttribute("aria-busy");
  }

  #take({ error, choices, usage }) {
    if (error) throw new Error(error.message ?? String(error));
    const { delta, message, finish_reason } = choices?.[0] ?? {};
    const said = delta ?? message ?? {};
    this.#add(said.reasoning_content ?? said.reasoning, true);
    this.#add(said.content, false);
    this.#tools ||= Boolean(said.tool_calls?.length);
    this.#end = finish_reason || this.#end;
    if (usage?.completion_tokens) this.#tokens = usage.completion_tokens;
  }

  #add(text, thinks) {
    if (!text) return;
    this.#first ||= performance.now();
    this.#tokens += this.#streamed ? 1 : 0;
    if (thinks !== this.#thinks) this.#flush();
    if (thinks !== this.#thinks) this.#block = null;
    this.#thinks = thinks;
    this.#gathered += text;
    this.#timer ||= setTimeout(() => this.#flush(), UPDATE_INTERVAL_MS);
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    if (!this.#gathered) return;
    this.#write(this.#gathered);
    this.#gathered = "";
    if (this.#streamed) put(this.#facts.first, seconds((this.#first - this.#began) / 1000));
    this.#showSpeed();
  }

  #write(text) {
    const ends = this.#block?.length > MAX_PARAGRAPH_CHARS ? text.indexOf("\n") : -1;
    if (ends >= 0) {
      this.#block.appendData(text.slice(0, ends));
      this.#block = null;
    }
    const rest = text.slice(ends + 1);
    if (this.#block) return this.#block.appendData(rest);
    const first = this.#node.childElementCount === 0;
    this.#block = document.createTextNode(first ? rest.trimStart() : rest); // many models begin with white space
    this.#node.append(make("div", { class: this.#thinks ? "thought" : "said" }, this.#block));
  }

  #note = (kind, words) => this.#node.append(make("p", { class: kind }, words));

  // Shows the speed and the number of tokens so far.
  #showSpeed() {
    const spent = (performance.now() - (this.#streamed && this.#first ? this.#first : this.#began)) / 1000;
    const after = this.#streamed ? this.#tokens - 1 : this.#tokens; // the time before the first token does not count, nor does that token
    put(this.#facts.speed, after > 0 && spent > 0 ? rate(after / spent) : NONE);
    put(this.#facts.tokens, this.#tokens ? whole(this.#tokens) : NONE);
  }
}
