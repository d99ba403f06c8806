"""Checks for instances that mostly answer 500, and for requests that killed instances."""

from collections.abc import Iterator

from svc.client.router_metrics import instance_marks, poisoned_requests
from svc.doctor.facts import Facts, Poisoning
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.protocol.instance_names import instance_name, instance_service, server_program

RECENT_SECONDS = 3600  # age up to which an event `poisoned` leads to a finding
POISONED_KEY = "poisoned"


def check(facts: Facts) -> Iterator[Finding]:
    yield from _failing_instances(facts)
    yield from _poisoned_requests(facts)


def poisoning_causes(facts: Facts, instance: str) -> tuple[str, ...]:
    """Return the key of the finding on poisoned requests if such a request recently killed the instance, else ()."""
    killed = {poisoning.service for poisoning in _recent_poisonings(facts)}
    return (POISONED_KEY,) if instance_service(instance) in killed else ()


def _failing_instances(facts: Facts) -> Iterator[Finding]:
    """Yield a finding for each failing instance. If the router requires keys, only its metrics list the instances."""
    router = facts.router
    if router is None:
        return
    marks = instance_marks(router.metrics.text)
    listed = router.instances()
    ejected = {name for name, entry in listed.items() if entry.get("ejected")}
    ejected |= {name for name, mark in marks.items() if mark.is_ejected}
    failing = {name for name, entry in listed.items() if entry.get("failing")}
    failing |= {name for name, mark in marks.items() if mark.is_failing}
    for name in sorted(failing):
        yield _failing_instance(facts, name, name in ejected)


def _failing_instance(facts: Facts, name: str, is_ejected: bool) -> Finding:
    instance = instance_name(name)
    is_local = any(component.service_name == name for component in facts.instances)
    log, program = f"logs/server_{instance}.log", server_program(instance)
    effect = "the router has ejected it" if is_ejected else "clients get these answers"
    return Finding(
        f"failing.{name}",
        WARNING if is_ejected else PROBLEM,
        f"{name}: most of its last answers are 500; {effect}",
        "other instances of its models answer the same kind of requests, so the instance is to blame",
        first_step=f"read {log}; if the cause may pass with a new process,"
        if is_local
        else f"on its machine: read {log}, or `svc rollout restart {instance}`; see",
        fix=f"supervisorctl restart {program}" if is_local else f"svc services show {name}",
        causes=(f"restarts.{program}", f"models.{instance}"),
    )


def _poisoned_requests(facts: Facts) -> Iterator[Finding]:
    """Yield a finding if requests killed instances recently.

    The source is the registry's events or, if no registry lists its services, the router's count.
    """
    if poisonings := _recent_poisonings(facts):
        killed, last = sorted({poisoning.service for poisoning in poisonings}), poisonings[-1]
        summary = f"a request kills the instances that serve it: {', '.join(killed)} died"
        evidence = f"{last.service}, {max(0, facts.now - last.time):.0f} s ago: {last.message}"
    elif facts.listing_registry() is None and facts.router and (counts := _poisoned_counts(facts)):
        number, keys = sum(counts.values()), ", ".join(name for name in counts if name)
        summary = f"{number} request{'s' if number > 1 else ''} killed two instances each since the router was started"
        evidence = f"sent with the key{'s' if len(counts) > 1 else ''} {keys}" if keys else "see the router's log"
    else:
        return
    yield Finding(
        POISONED_KEY,
        WARNING,
        summary,
        evidence,
        first_step="the router refuses its repetitions (502 request_kills_instances); find its client by the request's "
        "id in the access log, and the crash in the logs of the instances; all such events:",
        fix="svc events --kind poisoned",
    )


def _poisoned_counts(facts: Facts) -> dict[str, int]:
    return poisoned_requests(facts.router.metrics.text) if facts.router else {}


def _recent_poisonings(facts: Facts) -> list[Poisoning]:
    registry = facts.listing_registry()
    return [event for event in registry.poisonings if event.time >= facts.now - RECENT_SECONDS] if registry else []
