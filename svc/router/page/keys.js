// The client's API key and the operator's token: in this tab's sessionStorage and nowhere else.

import { byId, put } from "./dom.js";

const API_KEY = "api-key";
const OPERATOR_TOKEN = "operator-token";

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
    byId("keys-forget").addEventListener("click", () => this.#keep("", ""));
    this.#dialog.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#keep(byId(API_KEY).value.trim(), byId(OPERATOR_TOKEN).value.trim());
    });
    this.#dialog.addEventListener("close", () => this.#dialog.querySelectorAll("input").forEach((input) => (input.value = "")));
  }

  // `why` is the router's own sentence, where it refused what was sent.
  ask(why = "") {
    put(byId("keys-why"), why);
    byId("keys-why").hidden = !why;
    if (this.#dialog.open) return;
    byId(API_KEY).value = apiKey();
    byId(OPERATOR_TOKEN).value = operatorToken();
    this.#dialog.showModal();
  }

  #keep(key, token) {
    keep(API_KEY, key);
    keep(OPERATOR_TOKEN, token);
    this.#dialog.close();
    this.#changed();
  }
}
