"""The router's table and counts as JSON objects for the page."""

import re
from collections import Counter
from typing import Any

from svc.base import version
from svc.base.counter_rates import Counts, RateWindow, RecentCounts
from svc.protocol.health_state import HEALTH_STATES, level_of, state_of
from svc.router.balance.target import Target
from svc.router.state import RouterState
from svc.router.telemetry.statistics import UNKNOWN_MODEL, InstanceStatistics, ModelStatistics

STATUS_CLIENT_GONE = 499  # not an error: the client closed the connection
INSTANCE_FAULTS = ("cut", "timeout")  # values of `end` for which the instance is to blame, whatever the status
MAX_REASON_CHARS = 200
# The names that may stand in a command: people paste commands into a shell, where other names could do harm.
SERVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
UNKNOWN_MODELS = "unknown models"  # the key under which the recent counts contain the names of unknown models
NO_STATISTICS = InstanceStatistics()  # for an instance that has had no requests


def site(state: RouterState) -> dict[str, Any]:
    """Return the data that change rarely: the models, the instances and their states."""
    balancer = state.balancer
    models: dict[str, list[str]] = {}
    for target in balancer.table.targets:
        for model in target.models:
            models.setdefault(model, []).append(target.name)
    aliases: dict[str, list[str]] = {}
    for alias, model in balancer.aliases.items():
        aliases.setdefault(model, []).append(alias)
    return {
        "version": version.running().partition("+")[0],
        "router": {"ready": state.ready},
        "registry": {"url": state.settings.registry_url, "answers": not state.registry_away},
        "drain": bool(state.settings.registry_url),
        "usage": state.ledger is not None,
        "keyed": state.keys is not None,
        "keys_unapplied": state.has_unapplied_keys,
        "models": [
            {
                "name": name,
                "aliases": aliases.get(name, []),
                "fallback": balancer.fallbacks.get(name, ""),
                "instances": models[name],
                **_availability(state, name),
            }
            for name in sorted(models)
        ],
        "instances": [_instance(state, target) for target in balancer.table.targets],
    }


def _availability(state: RouterState, model: str) -> dict[str, str]:
    """Return what would happen now to a request for the model, as `fate`.

    `served`: an instance serves it; `tried`: all instances are unhealthy or ejected, and get requests all the same;
    `waits`: requests wait for an instance that is about to return; `asleep`: they wait until an instance is awake;
    `replaced`: the model in `by` serves it; `refused`: the router answers 503. `reason`: why none is awake yet.
    """
    balancer = state.balancer
    table, resolved = balancer.table, balancer.resolve_model(model)
    if resolved is not None and resolved != model:
        return {"fate": "replaced", "by": resolved}
    pool = table.pool(model)
    if pool is not None and pool.members:
        served = any(member.name in table.candidates for member in pool.members)
        return {"fate": "served" if served else "tried"}
    if model in table.returning:
        return {"fate": "waits"}
    fate = "asleep" if balancer.wakes.may_wait(model, table) else "refused"
    return {"fate": fate, "reason": balancer.wakes.reason(model)}


def _instance(state: RouterState, target: Target) -> dict[str, Any]:
    current = instance_state(state, target)
    restarts, reason = target.metadata.get("restarts"), target.metadata.get("restart_reason")
    load_seconds = target.metadata.get("load_seconds")
    known = HEALTH_STATES.get(current.partition(",")[0])
    return {
        "name": target.name,
        "host": target.host,
        "port": target.port,
        "url": target.url,
        "models": list(target.models),
        "state": current,
        "level": level_of(current),
        "meaning": known.meaning if known else "",
        "command": _command(target, current),
        "drained": target.drained,
        "on_demand": target.metadata.get("on_demand") is True,
        "load_seconds": load_seconds if type(load_seconds) in (int, float) else None,
        "restarts": restarts if type(restarts) is int else None,
        "restart_reason": reason[:MAX_REASON_CHARS] if isinstance(reason, str) else "",
    }


def _command(target: Target, current: str) -> str:
    """Return the command that ends a drain or a stop by an operator; "" if the instance needs no such command."""
    program = target.metadata.get("parent_service")
    if current.startswith("drained"):
        command = f"svc undrain {target.name}" if SERVICE_NAME.fullmatch(target.name) else ""
    elif current == "stopped" and isinstance(program, str) and SERVICE_NAME.fullmatch(program):
        command = f"supervisorctl start {program}:server"
    else:
        command = ""
    return command


def instance_state(state: RouterState, target: Target) -> str:
    """Return the instance's state in the registry; if this state is healthy, return the router's own observation."""
    unhealthy = target.lease_valid and target.healthy is False
    registered = state_of(
        {
            "status": target.status,
            "drained": target.drained,
            "is_healthy": target.healthy is not False,
            "health_status": "unhealthy" if unhealthy else "unknown",
        }
    )
    health = state.health.by_instance.get(target.name)
    if registered != "healthy":
        return registered
    failing = state.health.is_failing(target, state.balancer.table)
    if health is not None and not health.is_usable():
        return "failing, ejected" if failing else "ejected"
    if health is not None and health.healthy is False:
        return "unhealthy"
    return "failing" if failing else "healthy"


def counts_of_models(state: RouterState) -> dict[str, Counts]:
    return {
        name: Counts(
            sum(model.statuses.values()),
            sum(errors_by_kind(model).values()),
            model.produced_tokens,
            model.time_to_first_token.sum,
            sum(model.time_to_first_token.counts),
        )
        for name, model in list(state.statistics.models.items())
    }


def counts_of_instances(state: RouterState) -> dict[str, Counts]:
    return {
        name: Counts(
            instance.requests,
            instance.errors,
            instance.tokens,
            instance.first_token_seconds,
            instance.first_tokens,
        )
        for name, instance in list(state.statistics.instances.items())
    }


def errors_by_kind(model: ModelStatistics) -> dict[str, int]:
    """Return a model's error counts: by HTTP status, and, for responses that broke off, by how they ended."""
    statuses = {
        str(status): count
        for status, count in list(model.statuses.items())
        if status >= 400 and status != STATUS_CLIENT_GONE
    }
    return statuses | model.broken


def errors_by_model(state: RouterState) -> dict[str, dict[str, int]]:
    return {name: errors_by_kind(model) for name, model in list(state.statistics.models.items())}


def outcomes_by_model(state: RouterState) -> dict[str, dict[str, int]]:
    """Return, for each model, the number of requests, and how many of them failed through an instance's fault."""
    return {
        name: {
            "requests": sum(model.statuses.values()),
            "failed": sum(count for status, count in list(model.statuses.items()) if status >= 500)
            + sum(model.broken.get(kind, 0) for kind in INSTANCE_FAULTS),
        }
        for name, model in list(state.statistics.models.items())
    }


def errors_by_instance(state: RouterState) -> dict[str, dict[str, int]]:
    return {name: {"errors": instance.errors} for name, instance in list(state.statistics.instances.items())}


def unserved(state: RouterState, recent: RecentCounts) -> dict[str, dict[str, int]]:
    """Return the number of errors of each kind, in total and recently, for requests whose model is not on the page.

    In the result, `names` is a dict from the name of an unknown model to the number of recent failed requests for it.
    """
    total: Counter[str] = Counter()
    increase: Counter[str] = Counter()
    for name, errors in errors_by_model(state).items():
        if name not in state.balancer.table.models and name != UNKNOWN_MODEL:
            total.update(errors)
            increase.update(recent.increase(name, errors))
    names = recent.increase(UNKNOWN_MODELS, state.statistics.unknown_models)
    return {"kinds": total, "lately": increase, "names": names}


def models(
    state: RouterState,
    window: RateWindow,
    recent: RecentCounts,
    last_minute: RecentCounts,
    instances_last_minute: RecentCounts,
) -> dict[str, dict[str, Any]]:
    """Return the numbers of each model that at least one instance has."""
    balancer = state.balancer
    in_flight: dict[str, int] = {}
    failed_at: dict[str, dict[str, int]] = {}
    instance_errors = errors_by_instance(state)
    for target in balancer.table.targets:
        failed = instances_last_minute.increase(target.name, instance_errors.get(target.name, {})).get("errors", 0)
        for model in target.models:
            in_flight[model] = in_flight.get(model, 0) + balancer.loads.get(target.name, 0)
            if failed:
                failed_at.setdefault(model, {})[target.name] = failed
    waiting = balancer.queue.lengths()
    errors, outcomes = errors_by_model(state), outcomes_by_model(state)
    return {
        name: {
            **window.model(name)._asdict(),
            "in_flight": count,  # requests at the model's instances, which may be for other models too
            "waiting": waiting.get(name, 0),
            "kinds": errors.get(name, {}),
            "lately": recent.increase(name, errors.get(name, {})),
            "minute": {"requests": 0, "failed": 0, **last_minute.increase(name, outcomes.get(name, {}))},
            "failed_at": failed_at.get(name, {}),  # instance -> errors of the last minute
        }
        for name, count in in_flight.items()
    }


def instances(state: RouterState, window: RateWindow) -> dict[str, dict[str, Any]]:
    """Return a dict from the name of each instance in the table to its rates and counts."""
    numbers = {}
    for target in state.balancer.table.targets:
        instance = state.statistics.instances.get(target.name) or NO_STATISTICS
        numbers[target.name] = {
            **window.instance(target.name)._asdict(),
            "in_flight": state.balancer.loads.get(target.name, 0),
            "ejections": instance.ejections,
            "errors_total": instance.errors,
        }
    return numbers
