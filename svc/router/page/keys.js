// The client's API key and the operator's token, kept only in this tab's sessionStorage.

import { byId, put } from "./dom.js";

const API_KEY = "api-key";
const OPERATOR_TOKEN = "operator-token";
const FOREIGN = /[^\x21-\x7e]/; // what no header can carry, such as a dash that was made longer

export const apiKey = () => sessionStorage.getItem(API_KEY) ?? "";
export const operatorToken = () => sessionStorage.getItem(OPERATOR_TOKEN) ?? "";

export const authorization = () => (apiKey() ? { Authorization: `Bearer ${apiKey()}` } : {});

const keep = (name, value) => (value ? sessionStorage.setItem(name, value) : sessionStorage.removeItem(name));

export class Keys {
  #dialog = byId("keys");
  #changed;

  constructor(changed) {
    this.#changed = changed;
    byId("keys-open").addEventListener("click", () => this.ask());
    byId("keys-cancel").addEventListener("click", () => this.#dialog.close());
    byId("keys-forget").addEventListener("click", () => {
      sessionStorage.clear();
      location.reload(); // so that nothing stays of what they let us see
    });
    this.#dialog.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#take(byId(API_KEY).value.trim(), byId(OPERATOR_TOKEN).value.trim());
    });
    this.#dialog.addEventListener("close", () => this.#dialog.querySelectorAll("input").forEach((input) => (input.value = "")));
  }

  // `why` is the router's own sentence, where it refused what was sent.
  ask(why = "") {
    this.#say(why);
    if (this.#dialog.open) return;
    byId(API_KEY).value = apiKey();
    byId(OPERATOR_TOKEN).value = operatorToken();
    this.#dialog.showModal();
  }

  #say(why) {
    put(byId("keys-why"), why);
    byId("keys-why").hidden = !why;
  }

  #take(key, token) {
    const odd = Object.entries({ "The API key": key, "The operator token": token }).find(([, secret]) => FOREIGN.test(secret));
    if (odd) return this.#say(`${odd[0]} has a character that none can have: was it copied as a whole, and changed by nobody?`);
    keep(API_KEY, key);
    keep(OPERATOR_TOKEN, token);
    this.#dialog.close();
    this.#changed();
  }
}
