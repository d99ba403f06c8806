// The headline: the statements at the top of the page, the worst problem first. Pure.

import { count, when, whole } from "./figures.js";

const MAX_NAMES = 5; // of instances or models in one statement
const MAX_MODEL_STATEMENTS = 3; // of one kind: if it concerns more models, they share one statement
const MIN_FAILING_RATIO = 0.05; // with this share of failed requests within a minute, a model gets a statement
const WORST_FIRST = ["bad", "warning", "good", "info"];

export const CALM = ["good", "info"]; // the levels of what is healthy or asleep

export const rank = (level) => WORST_FIRST.indexOf(level);

// Whether so many of a model's requests failed in the last minute that an operator should look.
export const hasTooManyFailures = (minute) => minute.failed > 0 && minute.failed >= MIN_FAILING_RATIO * minute.requests;

export const failedShare = (minute) => `${whole(minute.failed)} of ${count(minute.requests, "request")} failed in the last minute`;

// The text of a statement, without the list of instances after it.
export const wordsOf = ({ lead }) => lead.map((part) => part.model ?? part).join("");

// Returns the statements, the worst first. A statement is {level, lead, names, more}. `lead` is its text as a list of
// strings and {model}, a model to link. `names` are the instances to link, each {name, note, level}, and `more` is the
// number of further instances. `version`: the version of the router that served this page.
export function verdictOf(site, tick, version) {
  const models = ofModels(site);
  const statements = [...models, ...ofRequests(tick), ...ofInstances(site.instances, models), ...aside(site, version)];
  if (!statements.some(({ level }) => rank(level) < rank("good"))) statements.push(allWell(site.instances));
  return statements.sort((one, other) => rank(one.level) - rank(other.level));
}

function statement(level, lead, all = []) {
  return { level, lead: [lead].flat(), all, names: all.slice(0, MAX_NAMES), more: Math.max(0, all.length - MAX_NAMES) };
}

// The statement if nothing is wrong: all instances are healthy or asleep.
function allWell(instances) {
  const [total, asleep] = [instances.length, instances.filter(({ level }) => level === "info").length];
  if (asleep === 0) return statement("good", total === 1 ? "The one instance is healthy" : `All ${total} instances healthy`);
  const rest = asleep === total ? `${count(total, "instance")} asleep` : `${count(total - asleep, "instance")} healthy, ${asleep} asleep`;
  return statement("good", `${rest}: a request wakes ${asleep === 1 ? "it" : "them"}`);
}

const withState = ({ name, state, level }) => ({ name, level, note: state === "stopped" ? "stopped by an operator" : state });

// Statements about the instances of each level. A statement is omitted if statements about models, which are at least as
// bad, already contain all its instances.
function ofInstances(instances, models) {
  if (!instances.length) return [statement("bad", "No instance is known")];
  const of = (level, one, many) => {
    const list = instances.filter((instance) => instance.level === level).map(withState);
    const worse = models.filter((other) => rank(other.level) <= rank(level)).flatMap(({ all }) => all.map(({ name }) => name));
    if (list.every(({ name }) => worse.includes(name))) return [];
    return [statement(level, `${list.length} of ${count(instances.length, "instance")} ${list.length === 1 ? one : many}`, list)];
  };
  return [...of("bad", "is unhealthy", "are unhealthy"), ...of("warning", "is not accepting new requests", "are not accepting new requests")];
}

function ofModels({ models, instances }) {
  const byName = new Map(instances.map((instance) => [instance.name, instance]));
  const of = (fate, level, before, after) => {
    const concerned = models.filter((model) => model.fate === fate);
    const groups = concerned.length > MAX_MODEL_STATEMENTS ? [concerned] : concerned.map((model) => [model]);
    return groups.map((group) => {
      const names = new Set(group.flatMap((model) => model.instances));
      const out = [...names].map((name) => byName.get(name)).filter((instance) => instance && instance.level !== "good");
      return statement(level, [before, ...listed(group), ...after(group)].filter(Boolean), out.map(withState));
    });
  };
  const fallback = ([model, ...others]) => (others.length ? [" are served by their fallbacks"] : [" is served by its fallback ", { model: model.by }]);
  return [
    ...of("refused", "bad", "No healthy instance serves ", () => []),
    ...of("tried", "bad", "No healthy instance serves ", () => ["; requests are sent to unhealthy ones"]),
    ...of("waits", "warning", "Requests for ", () => [" wait for an instance that is starting"]),
    ...of("replaced", "warning", "", fallback),
  ];
}

// The parts of a statement that list these models.
function listed(models) {
  const parts = models.slice(0, MAX_NAMES).flatMap(({ name }, at) => (at ? [", ", { model: name }] : [{ model: name }]));
  return models.length > MAX_NAMES ? [...parts, ` and ${models.length - MAX_NAMES} more`] : parts;
}

// Statements about the models with too many failed requests, with the instances that failed these requests.
function ofRequests(tick) {
  const failing = Object.entries(tick?.models ?? {}).filter(([, { minute }]) => hasTooManyFailures(minute));
  return failing.map(([name, { minute, failed_at = {} }]) => {
    const worst = Object.entries(failed_at).sort(([, one], [, other]) => other - one);
    const names = worst.map(([instance, failed]) => ({ name: instance, level: "bad", note: count(failed, "error") }));
    return statement("bad", [{ model: name }, `: ${failedShare(minute)}`], names);
  });
}

function aside({ now, router, registry, keys_unapplied: unapplied, version: current }, version) {
  const list = [];
  if (!router.ready) list.push(statement("bad", "The router has no table of instances yet"));
  if (registry.url && !registry.answers) {
    const known = registry.age === null ? "" : `; the router goes on with what it knew at ${when(new Date((now - registry.age) * 1000))}`;
    list.push(statement("bad", `The registry at ${registry.url} does not answer${known}`));
  }
  if (unapplied) list.push(statement("warning", "API keys are configured, and not applied yet (svc apply): this router does not ask for them"));
  if (current !== version) list.push(statement("info", `The router is ${current} now; reload this page`));
  return list;
}
