// The client's API key and the operator's token, kept only in this tab's sessionStorage.

import { byId, put } from "./dom.js";

const API_KEY = "api-key";
const OPERATOR_TOKEN = "operator-token";
const FOREIGN = /[^\x21-\x7e]/; // characters that a header cannot carry, such as a long dash that an editor has put in

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
      location.reload(); // so that nothing remains on the page that needed the keys
    });
    this.#dialog.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#take(byId(API_KEY).value.trim(), byId(OPERATOR_TOKEN).value.trim());
    });
    this.#dialog.addEventListener("close", () => this.#dialog.querySelectorAll("input").forEach((input) => (input.value = "")));
  }

  // `why`: the router's error message if it refused the key.
  ask(why = "") {
    this.#say(why);
    if (this.#dialog.open) return;
    byId(API_KEY).value = apiKey();
    byId(OPERATOR_TOKEN).value = operatorToken();
    byId("operator").open = operatorToken() !== "";
    this.#dialog.showModal();
  }

  #say(why) {
    put(byId("keys-why"), why);
    byId("keys-why").hidden = !why;
  }

  #take(key, token) {
    const odd = Object.entries({ "The API key": key, "The operator token": token }).find(([, secret]) => FOREIGN.test(secret));
    if (odd) return this.#say(`${odd[0]} has a character that no key can have, such as a blank or a long dash: copy it again`);
    keep(API_KEY, key);
    keep(OPERATOR_TOKEN, token);
    this.#dialog.close();
    this.#changed();
  }
}
