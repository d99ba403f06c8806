// What is wrong, in one sentence. Pure.

import { count, seconds } from "./figures.js";

const NAMED = 8;
const WORST_FIRST = ["bad", "warning", "good"];

export const rank = (level) => WORST_FIRST.indexOf(level);

// {level, words, names: instances to look at, more: how many are not named, also: further sentences}
export function verdictOf(site) {
  const { instances, models } = site;
  const of = (level) => instances.filter((instance) => instance.level === level);
  const bad = of("bad");
  const waiting = of("warning");
  const also = [...unanswered(models, instances), ...aside(site)];
  if (instances.length === 0) return { level: "bad", words: "No instance is known", names: [], more: 0, also };
  const total = instances.length;
  const look = bad.length ? [...bad, ...waiting] : waiting;
  const words = bad.length
    ? `${bad.length} of ${count(total, "instance")} ${bad.length === 1 ? "needs" : "need"} a look`
    : waiting.length
      ? `${waiting.length} of ${count(total, "instance")} ${waiting.length === 1 ? "gets" : "get"} nothing new`
      : total === 1
        ? "The one instance is healthy"
        : `All ${total} instances healthy`;
  const level = bad.length || also.some(({ level }) => level === "bad") ? "bad" : waiting.length || also.length ? "warning" : "good";
  return { level, words, names: look.slice(0, NAMED), more: Math.max(0, look.length - NAMED), also };
}

function unanswered(models, instances) {
  const able = new Set(instances.filter(({ level }) => level === "good").map(({ name }) => name));
  const left = models.filter((model) => !model.instances.some((name) => able.has(name))).map(({ name }) => name);
  return left.length ? [{ level: "bad", words: `Nobody answers for ${left.join(", ")}.` }] : [];
}

function aside({ router, registry }) {
  const told = [];
  if (router.status === "draining") told.push({ level: "warning", words: "This router is draining." });
  else if (!router.ready) told.push({ level: "bad", words: "The router has no table of instances yet." });
  if (registry.url && !registry.answers) {
    const age = registry.age === null ? "" : `, ${seconds(registry.age)} old`;
    told.push({ level: "bad", words: `The registry does not answer; the router goes on with what it knew${age}.` });
  }
  return told;
}
