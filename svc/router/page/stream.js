// The link to the router: one event stream, which is opened again whenever it is lost.

import { eventsOf } from "./sse.js";

const SILENCE = 5000; // ms without a byte: the router sends some every second
const FIRST_WAIT = 500;
const LONGEST_WAIT = 5000;

export class Link {
  #key;
  #tell;
  #turn;
  #abort = null;
  #lastReceived = 0; // performance.now() of the last message, or of the last request before it
  #last = null; // when something came, ever
  #wait = FIRST_WAIT;
  #timer = 0;
  #silence = SILENCE;

  // key(): the API key or ""; tell(name, data): what came; turn(state, why, last): live, lost or keyless, the router's
  // own words where it refused, and when something was heard
  constructor(key, tell, turn) {
    this.#key = key;
    this.#tell = tell;
    this.#turn = turn;
  }

  start() {
    setInterval(() => this.#watch(), 1000);
    addEventListener("online", () => this.again());
    addEventListener("offline", () => this.#abort?.abort());
    addEventListener("pageshow", (event) => event.persisted && this.again());
    document.addEventListener("visibilitychange", () => this.#timer && !document.hidden && this.again());
    this.again();
  }

  // Asks anew and at once, as with another key.
  again() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#abort?.abort();
    this.#run(new AbortController());
  }

  #watch() {
    if (this.#abort && performance.now() - this.#lastReceived > this.#silence) this.#abort.abort();
  }

  async #run(abort) {
    this.#abort = abort;
    this.#lastReceived = performance.now();
    let why = "";
    try {
      why = await this.#read(abort.signal);
    } catch {
      // The network's own words help nobody: the link is lost.
    }
    if (this.#abort !== abort) return; // another one has taken over
    this.#abort = null;
    if (why === null) return;
    this.#turn("lost", why, this.#last);
    this.#timer = setTimeout(() => this.again(), this.#wait * (0.75 + Math.random() / 2));
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
  }

  // Reads until the stream ends. Returns why it was refused, or null where a key is needed.
  async #read(signal) {
    const key = this.#key();
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    const answer = await fetch("/ui/stream", { headers, signal, cache: "no-store" });
    if (answer.status !== 200) {
      const why = await reason(answer);
      if (answer.status !== 401) return why;
      this.#turn("keyless", why, this.#last);
      return null;
    }
    let first = true;
    for await (const { name, data } of eventsOf(answer.body, () => this.#hear())) {
      const message = JSON.parse(data);
      if (first) this.#turn("live", "", this.#last);
      if (first) this.#wait = FIRST_WAIT;
      first = false;
      if (name === "site") this.#silence = Math.max(SILENCE, message.every * 3000);
      try {
        this.#tell(name, message);
      } catch (error) {
        reportError(error); // an error of the page is no lost link
      }
    }
    return "";
  }

  #hear() {
    this.#lastReceived = performance.now();
    this.#last = new Date();
  }
}

// Returns the message of an error response: of the router's or OpenAI's error format, or the beginning of its text.
export async function reason(answer) {
  const text = await answer.text().catch(() => "");
  try {
    const { error } = JSON.parse(text);
    return typeof error === "string" ? error : error.message;
  } catch {
    return `${answer.status} ${answer.statusText} ${text.slice(0, 300)}`.trim();
  }
}
