"""Checks each program's state in supervisord, and explains with the end of its log why it does not run."""

from collections.abc import Iterator

from svc.doctor.checks.failed_requests import poisoning_causes
from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.doctor.log_patterns import LogDiagnosis, diagnose
from svc.site.components import Component

MANY_RESTARTS, RECENT_SECONDS = 3, 300  # so many restarts lead to a finding if the last one is more recent than this
JUST_RESTARTED_SECONDS = 10  # uptime up to which a single restart leads to a finding
KILLED = "terminated by SIGKILL"
MAX_LINE_WIDTH = 200


def check(facts: Facts) -> Iterator[Finding]:
    if facts.supervisord.pid is None:
        return
    for component in facts.components:
        for name in component.programs:
            yield from _program(facts, component, name)


def _program(facts: Facts, component: Component, name: str) -> Iterator[Finding]:
    process, key = facts.supervisord.processes.get(name), f"program.{name}"
    if process is None:
        yield Finding(
            key,
            PROBLEM,
            f"{name}: supervisord does not have it",
            "supervisord has not read its file in conf.d/ yet",
            fix="svc up",
            causes=("files.wrong.*",),
        )
    elif process.state == "STOPPED":
        if component.on_demand and name == component.server_program:
            return  # an instance on demand that is asleep
        since = f"; stopped {process.now - process.stop} s ago" if process.stop else ""
        yield Finding(
            key,
            PROBLEM,
            f"{name}: was stopped by hand",
            f"supervisord calls it STOPPED{since}",
            fix=f"supervisorctl start {name}",
            causes=("rollout",) if facts.rollout and component.name in facts.rollout.begun else (),
        )
    elif process.state in ("BACKOFF", "FATAL", "EXITED", "UNKNOWN"):
        yield _failed_program(facts, component, name, f"{process.state}: {process.spawnerr or process.description}")
    elif process.state == "STARTING" and (count := facts.supervisord.restarts.get(name)) and count.restarts:
        yield _failed_program(facts, component, name, f"STARTING, for the {count.restarts + 1}. time")
    elif process.state == "RUNNING":
        yield from _restarted_program(facts, component, name)


def _failed_program(facts: Facts, component: Component, name: str, state: str) -> Finding:
    key = f"program.{name}"
    causes = [f"port.{port}" for port in component.ports] + ["leftovers", "disk.*"]
    causes += poisoning_causes(facts, component.name) if name == component.server_program else ()
    diagnosis = diagnose(facts.log_of_last_exit(name))
    restart = f"supervisorctl restart {name}"
    if diagnosis is None and KILLED in facts.last_exits.get(name, ""):
        return Finding(
            key,
            PROBLEM,
            f"{name}: was killed (SIGKILL): by the kernel as memory ran out, or by hand",
            state,
            first_step="see whether it was the kernel: `dmesg -T | grep -i 'killed process'`; then",
            fix=restart,
            causes=causes,
        )
    if diagnosis is None:
        last = next((line for line in reversed(facts.log_of_last_exit(name)) if line.strip()), "")
        tail = f"; its log ends: {last.strip()[:MAX_LINE_WIDTH]}" if last else _empty_log_text(facts, name)
        return Finding(
            key,
            PROBLEM,
            f"{name}: does not run",
            state + tail,
            causes=causes,
            fix=restart,
            first_step=f"look for the reason in {facts.log_name(name)}; then",
        )
    return Finding(
        key,
        PROBLEM,
        f"{name}: {diagnosis.meaning}",
        f"{state}; its log: {diagnosis.line[:MAX_LINE_WIDTH]}",
        causes=causes,
        first_step=_first_step(diagnosis, component),
        fix="svc up" if diagnosis.edits else restart,
    )


def _empty_log_text(facts: Facts, program: str) -> str:
    name = facts.log_name(program)
    return "; its log is empty" if name == "its log" else f"; {name} has its output"


def _first_step(diagnosis: LogDiagnosis, component: Component) -> str:
    """Return the cure, followed by the instance's TOML file if the cure is an edit of that file."""
    source = component.toml
    return diagnosis.cure + (f" (in {source})" if diagnosis.edits and source else "")


def _restarted_program(facts: Facts, component: Component, name: str) -> Iterator[Finding]:
    count, uptime = facts.supervisord.restarts.get(name), facts.uptime(name)
    if count is None:
        return
    often = count.restarts >= MANY_RESTARTS and uptime < RECENT_SECONDS
    if often or (count.restarts and uptime < JUST_RESTARTED_SECONDS):
        diagnosis = diagnose(facts.log_of_last_exit(name))
        last_exit = facts.last_exits.get(name, "")
        times = "once" if count.restarts == 1 else f"{count.restarts} times"
        evidence = f"it was {last_exit}" if last_exit else f"see {facts.log_name(name)}"
        if diagnosis:
            evidence = f"its log: {diagnosis.line[:MAX_LINE_WIDTH]}"
        yield Finding(
            f"restarts.{name}",
            WARNING,
            f"{name}: runs, but was restarted {times}, {uptime} s ago last",
            evidence,
            first_step=_first_step(diagnosis, component)
            if diagnosis
            else f"look for the reason in {facts.log_name(name)}; then",
            fix="svc up" if diagnosis and diagnosis.edits else f"supervisorctl restart {name}",
            causes=poisoning_causes(facts, component.name) if name == component.server_program else (),
        )
