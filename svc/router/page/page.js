// The start of the page: stores each message of the event stream in `site`, and draws what has changed once a frame.

import { Actions } from "./actions.js";
import { Gpus } from "./gpus.js";
import { Head } from "./head.js";
import { Keys, apiKey, operatorToken } from "./keys.js";
import { Models } from "./models.js";
import { Site } from "./site.js";
import { Link } from "./stream.js";
import { Table } from "./table.js";
import { Timeline } from "./timeline.js";
import { TryIt } from "./tryit.js";
import { Usage } from "./usage.js";

const site = new Site();
const actions = new Actions(site);
const table = new Table(actions.ask);
const models = new Models();
const head = new Head(table.show, models.show);
const timeline = new Timeline(table);
const tryIt = new TryIt();
const gpus = new Gpus(table);
const usage = new Usage();
const keys = new Keys(() => {
  if (site.snapshot) usage.site(site.snapshot, true);
  changed("site");
  link.again();
});
const link = new Link(apiKey, take, turn);

const parts = new Set();
const names = new Set();
let drawing = false;

function take(name, data) {
  for (const instance of site.take(name, data)) names.add(instance);
  if (site.snapshot) head.verdict(site); // at once, because a hidden tab gets no frames, but shows the verdict in its title
  changed(name === "history" ? "tick" : name);
}

function turn(state, why, last) {
  if (state === "live") site.begin();
  head.link(state, why, last);
  if (state === "live") changed("site");
  if (state === "keyless") keys.ask(why);
}

function changed(part) {
  parts.add(part);
  if (!drawing) requestAnimationFrame(show);
  drawing = true;
}

function show() {
  drawing = false;
  if (parts.has("site") && site.snapshot) {
    models.site(site.snapshot);
    table.site(site.snapshot, site.snapshot.drain && operatorToken() !== "");
    tryIt.site(site.snapshot);
    usage.site(site.snapshot);
  }
  if (parts.has("tick") && site.tick) {
    head.tick(site.tick);
    models.tick(site.tick, site.history);
  }
  table.tick(names, site.numbers);
  if (parts.has("events") || parts.has("site")) timeline.show(site.events, site.snapshot?.registry);
  if (parts.has("gpus") || parts.has("site")) gpus.show(site.gpus); // a name leads to a row only if there is one
  actions.refresh();
  parts.clear();
  names.clear();
}

link.start();
