"""What supervisord says of each program, and for those that do not run what the end of their log means."""

from collections.abc import Iterator

from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.doctor.log_patterns import Diagnosis, diagnose
from svc.site.components import Component

OFTEN, LATELY = 3, 300  # restarts, seconds
JUST = 10  # seconds after a restart in which one is worth a word
KILLED = "terminated by SIGKILL"
WIDTH = 200


def check(facts: Facts) -> Iterator[Finding]:
    if facts.supervisor.pid is None:
        return
    for component in facts.components:
        for name in component.programs:
            yield from _program(facts, component, name)


def _program(facts: Facts, component: Component, name: str) -> Iterator[Finding]:
    process, key = facts.supervisor.processes.get(name), f"program.{name}"
    if process is None:
        yield Finding(
            key,
            PROBLEM,
            f"{name}: supervisord does not have it",
            "its file in conf.d/ came after supervisord was told",
            fix="svc up",
            because=("files.wrong.*",),
        )
    elif process.state == "STOPPED":
        since = f"; stopped {process.now - process.stop} s ago" if process.stop else ""
        yield Finding(
            key,
            PROBLEM,
            f"{name}: was stopped by hand",
            f"supervisord calls it STOPPED{since}",
            fix=f"supervisorctl start {name}",
            because=("rollout",) if facts.rollout and component.name in facts.rollout.begun else (),
        )
    elif process.state in ("BACKOFF", "FATAL", "EXITED", "UNKNOWN"):
        yield _failed(facts, component, name, key, f"{process.state}: {process.spawnerr or process.description}")
    elif process.state == "STARTING" and (count := facts.supervisor.restarts.get(name)) and count.restarts:
        yield _failed(facts, component, name, key, f"STARTING, for the {count.restarts + 1}. time")
    elif process.state == "RUNNING":
        yield from _restless(facts, name)


def _failed(facts: Facts, component: Component, name: str, key: str, state: str) -> Finding:
    because = [f"port.{port}" for port in component.ports] + ["leftovers", "disk.*"]
    known = diagnose(facts.logs.get(name, ()))
    again = f"supervisorctl restart {name}"
    if known is None and KILLED in facts.deaths.get(name, ""):
        return Finding(
            key,
            PROBLEM,
            f"{name}: was killed (SIGKILL): by the kernel as memory ran out, or by hand",
            state,
            first="see whether it was the kernel: dmesg -T | grep -i 'killed process'; then",
            fix=again,
            because=because,
        )
    if known is None:
        last = next((line for line in reversed(facts.logs.get(name, ())) if line.strip()), "")
        tail = f"; its log ends: {last.strip()[:WIDTH]}" if last else "; its log is empty"
        return Finding(
            key,
            PROBLEM,
            f"{name}: does not run",
            state + tail,
            because=because,
            fix=again,
            first="look for the reason in its log; then",
        )
    return Finding(
        key,
        PROBLEM,
        f"{name}: {known.meaning}",
        f"{state}; its log: {known.line[:WIDTH]}",
        because=because,
        first=_first(known, component),
        fix="svc up" if known.edits else again,
    )


def _first(known: Diagnosis, component: Component) -> str:
    """What has to be done, with the file where it is one's."""
    source = component.source.removeprefix("../")
    return known.cure + (f" (in {source})" if known.edits and source else "")


def _restless(facts: Facts, name: str) -> Iterator[Finding]:
    count, uptime = facts.supervisor.restarts.get(name), facts.uptime(name)
    if count and ((count.restarts >= OFTEN and uptime < LATELY) or (count.restarts and uptime < JUST)):
        known = diagnose(facts.logs.get(name, ()))
        how = facts.deaths.get(name, "")
        times = "once" if count.restarts == 1 else f"{count.restarts} times"
        yield Finding(
            f"restarts.{name}",
            WARNING,
            f"{name}: runs, but was restarted {times}, {uptime} s ago last",
            (f"its log: {known.line[:WIDTH]}" if known else "") or (f"it was {how}" if how else "its log tells why"),
            first=known.cure if known else "look for the reason in its log; then",
            fix=f"supervisorctl restart {name}",
        )
