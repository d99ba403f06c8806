"""What the page is told of the router's table and counts."""

from collections import Counter
from typing import Any

from svc.base import version
from svc.base.counter_rates import Counts, RateWindow, RecentCounts
from svc.protocol.health_state import WORDS, level_of, state_of
from svc.router.balance.table import Target
from svc.router.state import RouterState
from svc.router.telemetry.access_log import ModelStatistics

LEFT = 499  # its client left: nobody's error
FAULTS = ("cut", "timeout")  # ends that are an instance's doing, whatever status had been told
LONGEST_REASON = 200


def site(state: RouterState) -> dict[str, Any]:
    """What changes seldom: who is there, and what becomes of each."""
    models: dict[str, list[str]] = {}
    for target in state.table.targets:
        for model in target.models:
            models.setdefault(model, []).append(target.name)
    aliases: dict[str, list[str]] = {}
    for alias, model in state.aliases.items():
        aliases.setdefault(model, []).append(alias)
    return {
        "version": version.running().partition("+")[0],
        "router": {"ready": state.ready},
        "registry": {"url": state.settings.registry_url, "answers": not state.away},
        "drain": bool(state.settings.registry_url),
        "keyed": state.keys is not None,
        "models": [
            {
                "name": name,
                "aliases": aliases.get(name, []),
                "fallback": state.fallbacks.get(name, ""),
                "instances": models[name],
                **_fate(state, name),
            }
            for name in sorted(models)
        ],
        "instances": [_instance(state, target) for target in state.table.targets],
    }


def _fate(state: RouterState, model: str) -> dict[str, str]:
    """What becomes of a request for it, as `admit` would have it.

    `served`; `tried`: all who have it are out, and tried all the same; `waits` for one that is on its way back;
    `replaced` by the model in `by`; `refused`.
    """
    table, other = state.table, state.meant(model)
    if other is not None and other != model:
        return {"fate": "replaced", "by": other}
    pool = table.pool(model)
    if pool is not None and pool.members:
        return {"fate": "served" if any(m.name in table.candidates for m in pool.members) else "tried"}
    return {"fate": "waits" if model in table.returning else "refused"}


def _instance(state: RouterState, target: Target) -> dict[str, Any]:
    word = word_of(state, target)
    restarts, reason = target.metadata.get("restarts"), target.metadata.get("restart_reason")
    known = WORDS.get(word.partition(",")[0])
    return {
        "name": target.name,
        "host": target.host,
        "port": target.port,
        "url": target.url,
        "models": list(target.models),
        "state": word,
        "level": level_of(word),
        "meaning": known.meaning if known else "",
        "drained": target.drained,
        "restarts": restarts if type(restarts) is int else None,
        "restart_reason": reason[:LONGEST_REASON] if isinstance(reason, str) else "",
    }


def word_of(state: RouterState, target: Target) -> str:
    """1. The registry's word, which is the operator's and its own; 2. of one that is well there, what the router
    found out itself."""
    told = "unhealthy" if target.heard and target.well is False else "unknown"
    word = state_of(
        {
            "status": target.status,
            "drained": target.drained,
            "is_healthy": target.well is not False,
            "health_status": told,
        }
    )
    fitness = state.fitness.get(target.name)
    if word != "healthy" or fitness is None:
        return word  # 1
    if not fitness.usable():
        return "ejected"  # 2
    return "unhealthy" if fitness.well is False else "healthy"


def counts_of_models(state: RouterState) -> dict[str, Counts]:
    return {
        name: Counts(
            sum(meter.statuses.values()),
            sum(kinds(meter).values()),
            meter.produced,
            meter.first_byte.sum,
            sum(meter.first_byte.counts),
        )
        for name, meter in list(state.recorder.meters.items())
    }


def counts_of_instances(state: RouterState) -> dict[str, Counts]:
    return {
        name: Counts(tally.requests, tally.errors, tally.tokens, tally.first_seconds, tally.firsts)
        for name, tally in list(state.tallies.items())
    }


def kinds(meter: ModelStatistics) -> dict[str, int]:
    """Errors: answers by their status, and those that broke off when it had been told already."""
    told = {str(status): count for status, count in list(meter.statuses.items()) if status >= 400 and status != LEFT}
    return told | meter.broken


def all_kinds(state: RouterState) -> dict[str, dict[str, int]]:
    return {name: kinds(meter) for name, meter in list(state.recorder.meters.items())}


def all_ends(state: RouterState) -> dict[str, dict[str, int]]:
    """Of each model, requests, and those that failed, which no client is to blame for."""
    return {
        name: {
            "requests": sum(meter.statuses.values()),
            "failed": sum(count for status, count in list(meter.statuses.items()) if status >= 500)
            + sum(meter.broken.get(kind, 0) for kind in FAULTS),
        }
        for name, meter in list(state.recorder.meters.items())
    }


def others(state: RouterState, lately: RecentCounts) -> dict[str, dict[str, int]]:
    """Errors of requests for no model that is here, by kind."""
    ever: Counter[str] = Counter()
    now: Counter[str] = Counter()
    for name, told in all_kinds(state).items():
        if name not in state.table.models:
            ever.update(told)
            now.update(lately.increase(name, told))
    return {"kinds": ever, "lately": now}


def models(
    state: RouterState, window: RateWindow, lately: RecentCounts, minute: RecentCounts
) -> dict[str, dict[str, Any]]:
    """Of each model that somebody has."""
    flying: dict[str, int] = {}
    for target in state.table.targets:
        for model in target.models:
            flying[model] = flying.get(model, 0) + state.loads.get(target.name, 0)
    waiting = state.lines.lengths()
    failed, ends = all_kinds(state), all_ends(state)
    return {
        name: {
            **window.model(name)._asdict(),
            "in_flight": count,  # of its instances, which may have other models too
            "waiting": waiting.get(name, 0),
            "kinds": failed.get(name, {}),
            "lately": lately.increase(name, failed.get(name, {})),
            "minute": {"requests": 0, "failed": 0, **minute.increase(name, ends.get(name, {}))},
        }
        for name, count in flying.items()
    }


def instances(state: RouterState, window: RateWindow) -> dict[str, dict[str, Any]]:
    found = {}
    for target in state.table.targets:
        tally = state.tallies.get(target.name)
        found[target.name] = {
            **window.instance(target.name)._asdict(),
            "in_flight": state.loads.get(target.name, 0),
            "ejections": tally.ejections if tally else 0,
            "errors_total": tally.errors if tally else 0,
        }
    return found
