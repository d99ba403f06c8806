// The verdict: the lines at the top of the page, the worst problem first. Pure.

import { count, when, whole } from "./figures.js";

const MAX_NAMES = 5;
const MIN_FAILING_RATIO = 0.05; // of a model's requests within a minute
const WORST_FIRST = ["bad", "warning", "good", "info"];

export const rank = (level) => WORST_FIRST.indexOf(level);

// Returns the lines, the worst first. A line is {level, words, names, more}: `names` are the instances to link, `more` is
// the number of instances that are not named. `version`: the version of the router that served this page.
export function verdictOf(site, tick, version) {
  const lines = [...ofInstances(site.instances), ...ofModels(site.models), ...ofRequests(tick), ...aside(site, version)];
  if (!lines.some(({ level }) => rank(level) < rank("good"))) lines.push(allWell(site.instances.length));
  return lines.sort((one, other) => rank(one.level) - rank(other.level));
}

const line = (level, words, list = []) => ({ level, words, names: list.slice(0, MAX_NAMES), more: Math.max(0, list.length - MAX_NAMES) });

const allWell = (total) => line("good", total === 1 ? "The one instance is healthy" : `All ${total} instances healthy`);

function ofInstances(instances) {
  if (!instances.length) return [line("bad", "No instance is known")];
  const of = (level, one, many) => {
    const list = instances.filter((instance) => instance.level === level);
    const words = `${list.length} of ${count(instances.length, "instance")} ${list.length === 1 ? one : many}`;
    return list.length ? [line(level, words, list)] : [];
  };
  return [...of("bad", "needs a look", "need a look"), ...of("warning", "gets nothing new", "get nothing new")];
}

function ofModels(models) {
  const of = (fate) => models.filter((model) => model.fate === fate).map(({ name }) => name);
  const unavailable = (level, fate, words) => (of(fate).length ? [line(level, words(of(fate).join(", ")))] : []);
  return [
    ...unavailable("bad", "refused", (names) => `Nobody answers for ${names}`),
    ...unavailable("bad", "tried", (names) => `All who have ${names} are out; they are tried all the same`),
    ...unavailable("warning", "waits", (names) => `Requests for ${names} wait for an instance that starts`),
    ...models.filter(({ fate }) => fate === "replaced").map(({ name, by }) => line("warning", `${by} answers for ${name}`)),
  ];
}

function ofRequests(tick) {
  const failing = Object.entries(tick?.models ?? {}).filter(([, { minute }]) => minute.failed && minute.failed >= MIN_FAILING_RATIO * minute.requests);
  return failing.map(([name, { minute }]) => line("bad", `${name}: ${whole(minute.failed)} of ${count(minute.requests, "request")} failed in the last minute`));
}

function aside({ now, router, registry, version: current }, version) {
  const lines = [];
  if (!router.ready) lines.push(line("bad", "The router has no table of instances yet"));
  if (registry.url && !registry.answers) {
    const known = registry.age === null ? "" : `; the router goes on with what it knew at ${when(new Date((now - registry.age) * 1000))}`;
    lines.push(line("bad", `The registry does not answer${known}`));
  }
  if (current !== version) lines.push(line("info", `The router is ${current} now; reload this page`));
  return lines;
}
