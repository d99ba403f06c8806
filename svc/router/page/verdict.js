// What is wrong, in one sentence. Pure.

import { count, timeOf } from "./figures.js";

const NAMED = 8;
const WORST_FIRST = ["bad", "warning", "good"];

export const rank = (level) => WORST_FIRST.indexOf(level);

// Lines of {level, words, names: the instances that are meant, more: how many are not named}, the worst first
export function verdictOf(site) {
  const { instances, models } = site;
  const total = instances.length;
  const bad = instances.filter(({ level }) => level === "bad");
  const waiting = instances.filter(({ level }) => level === "warning");
  const lines = [...unanswered(models, instances), ...aside(site)];
  if (total === 0) return [line("bad", "No instance is known"), ...lines];
  if (waiting.length) lines.unshift(line("warning", of(waiting, total, "gets", "get") + " nothing new", waiting));
  if (bad.length) lines.unshift(line("bad", of(bad, total, "needs", "need") + " a look", bad));
  if (bad.length || waiting.length) return lines;
  return [line("good", total === 1 ? "The one instance is healthy" : `All ${total} instances healthy`), ...lines];
}

const line = (level, words, list = []) => ({ level, words, names: list.slice(0, NAMED), more: Math.max(0, list.length - NAMED) });

const of = (list, total, one, many) => `${list.length} of ${count(total, "instance")} ${list.length === 1 ? one : many}`;

function unanswered(models, instances) {
  const able = new Set(instances.filter(({ level }) => level === "good").map(({ name }) => name));
  const left = models.filter((model) => !model.instances.some((name) => able.has(name))).map(({ name }) => name);
  return left.length ? [line("bad", `Nobody answers for ${left.join(", ")}`)] : [];
}

function aside({ now, router, registry }) {
  const told = [];
  if (router.status === "draining") told.push(line("warning", "This router is draining"));
  else if (!router.ready) told.push(line("bad", "The router has no table of instances yet"));
  if (registry.url && !registry.answers) {
    const when = registry.age === null ? "" : ` at ${timeOf(new Date((now - registry.age) * 1000))}`;
    told.push(line("bad", `The registry does not answer; the router goes on with what it knew${when}`));
  }
  return told;
}
