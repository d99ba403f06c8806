// The link to the router: one event stream, which is opened again whenever it breaks off.

import { eventsOf } from "./sse.js";

const SILENCE_TIMEOUT_MS = 5000; // after this time without a byte, the link is lost: the router sends a message every second
const MIN_RETRY_MS = 500;
const MAX_RETRY_MS = 5000;

export class Link {
  #key;
  #tell;
  #turn;
  #abort = null;
  #lastReceived = 0; // performance.now() of the last message; until the first message, of the request
  #last = null; // the time of the last message, if any
  #wait = MIN_RETRY_MS;
  #timer = 0;
  #silence = SILENCE_TIMEOUT_MS;

  // key() returns the API key or "". tell(name, data) is called for each message. turn(state, why, last) is called for
  // each new state, which is live, lost or keyless: `why` is the router's error message or "", `last` the time of the last
  // message.
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

  // Opens the stream anew and at once, for example with another key.
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
      // A network error is not shown: its message says no more than that the link is lost.
    }
    if (this.#abort !== abort) return; // `again` has opened another stream
    this.#abort = null;
    if (why === null) return;
    this.#turn("lost", why, this.#last);
    this.#timer = setTimeout(() => this.again(), this.#wait * (0.75 + Math.random() / 2));
    this.#wait = Math.min(this.#wait * 2, MAX_RETRY_MS);
  }

  // Reads until the stream ends. Returns the error message of a refusal, "" if there is none, null if a key is needed.
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
    for await (const { name, data } of eventsOf(answer.body, () => this.#noteReceived())) {
      const message = JSON.parse(data);
      if (first) this.#turn("live", "", this.#last);
      if (first) this.#wait = MIN_RETRY_MS;
      first = false;
      if (name === "site") this.#silence = Math.max(SILENCE_TIMEOUT_MS, message.every * 3000);
      try {
        this.#tell(name, message);
      } catch (error) {
        reportError(error); // an error in the page does not mean that the link is lost
      }
    }
    return "";
  }

  #noteReceived() {
    this.#lastReceived = performance.now();
    this.#last = new Date();
  }
}

// Returns the message of an error response: from its JSON, or else the beginning of its text.
export async function reason(answer) {
  const text = await answer.text().catch(() => "");
  try {
    const { error } = JSON.parse(text);
    return typeof error === "string" ? error : error.message;
  } catch {
    return `${answer.status} ${answer.statusText} ${text.slice(0, 300)}`.trim();
  }
}
