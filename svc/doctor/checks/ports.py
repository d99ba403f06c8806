"""Who has the ports that programs want, and whether those that run listen there."""

from collections.abc import Iterator

from svc.doctor.facts import Facts, Holder
from svc.doctor.findings import PROBLEM, WARNING, Finding

WIDTH = 100
SOON = 15  # seconds after which our own programs listen
LOADING = 900  # seconds that an engine may load a model before that is a problem


def check(facts: Facts) -> Iterator[Finding]:
    for component in facts.components:
        for number, program in enumerate(component.programs):
            port = component.ports[number]
            holder = facts.listeners.get(port)
            state = facts.state(program)
            if state in ("RUNNING", "STOPPING"):
                yield from _silent(facts, program, port)
            elif state == "STARTING" and not (holder and holder.pid):
                continue  # it may be its own
            elif holder and (holder.left or holder.program != program):
                yield _taken(facts, program, port, holder)


def _taken(facts: Facts, program: str, port: int, holder: Holder) -> Finding:
    by = f"{holder.command[:WIDTH]} (pid {holder.pid})" if holder.pid else "a program of another user"
    what = f"port {port}, which {program} needs, is held by {by}"
    choose = f"if that is needed, choose another port for {program.partition(':')[0]}, svc up; else"
    if holder.left:
        return Finding(
            f"port.{port}",
            PROBLEM,
            what,
            "it was started by an earlier supervisord of this site",
            fix=f"kill -9 {holder.pid}",
            because=("leftovers",),
        )
    if holder.program:
        return Finding(
            f"port.{port}",
            PROBLEM,
            what,
            f"that is this site's {holder.program}: it listens where it should not",
            first="correct the port in [backend] args",
            fix="svc up",
        )
    if not holder.pid:
        return Finding(
            f"port.{port}",
            PROBLEM,
            what,
            "it listens there, and /proc does not tell us whose it is",
            first=choose,
            fix=f"sudo ss -ltnp 'sport = :{port}'",
        )
    after = {"BACKOFF": "", "STARTING": "", "": " && sleep 2 && svc up"}.get(
        facts.state(program), f" && sleep 2 && supervisorctl start {program}"
    )
    return Finding(
        f"port.{port}",
        PROBLEM,
        what,
        f"it listens there, and {program} {_word(facts, program)}",
        first=choose,
        fix=f"kill {holder.pid}{after}",
    )


def _word(facts: Facts, program: str) -> str:
    return f"is {facts.state(program)}" if facts.state(program) else "does not run"


def _silent(facts: Facts, program: str, port: int) -> Iterator[Finding]:
    """A program that runs and does not listen on its port."""
    if facts.state(program) != "RUNNING" or port in facts.listeners or not facts.listeners:
        return
    uptime = facts.uptime(program)
    elsewhere = sorted(other for other, holder in facts.listeners.items() if holder.program == program)
    if elsewhere and program.endswith(":server"):
        yield Finding(
            f"listen.{program}",
            PROBLEM,
            f"{program}: listens on port {elsewhere[0]}, not on its own, {port}",
            "the port of its TOML and that of its command differ",
            first=f"make [backend] args say port {port}",
            fix="svc up",
        )
    elif program.endswith(":server"):
        state = "it does not come up" if uptime > LOADING else "it may still load"
        last = next((line for line in reversed(facts.logs.get(program, ())) if line.strip()), "nothing")
        yield Finding(
            f"listen.{program}",
            PROBLEM if uptime > LOADING else WARNING,
            f"{program}: nothing listens on port {port} after {uptime} s: {state}",
            f"its log ends: {last[:WIDTH]}",
            because=(f"restarts.{program}",),
            fix=f"supervisorctl restart {program}" if uptime > LOADING else "svc status --watch",
        )
    elif uptime > SOON:
        yield Finding(
            f"listen.{program}",
            PROBLEM,
            f"{program}: does not listen on port {port}",
            f"supervisord calls it RUNNING since {uptime} s",
            fix=f"supervisorctl restart {program}",
        )
