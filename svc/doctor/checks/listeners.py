"""Checks whether another process occupies a program's port, and whether running programs listen on their ports."""

from collections.abc import Iterator

from svc.doctor.facts import Facts, PortHolder
from svc.doctor.findings import PROBLEM, WARNING, Finding
from svc.doctor.start_phase import is_starting

MAX_COMMAND_WIDTH = 100
STARTUP_SECONDS = 15  # time from the start of one of svc's own programs until it must listen
MAX_LOADING_SECONDS = 900  # time for which an engine may load its model


def check(facts: Facts) -> Iterator[Finding]:
    if facts.supervisord.problem or facts.supervisord.pid_without_socket:
        return  # the states of this site's programs are unknown, so the listeners may be these programs
    for component in facts.components:
        for number, program in enumerate(component.programs):
            port = component.ports[number]
            holder = facts.listeners.get(port)
            state = facts.state(program)
            if state in ("RUNNING", "STOPPING"):
                yield from _silent_program(facts, program, port)
            elif state == "STARTING" and not (holder and holder.pid):
                continue  # the unknown process may be the program itself
            elif holder and (holder.is_leftover or holder.program != program):
                yield _taken_port(facts, program, port, holder)


def _taken_port(facts: Facts, program: str, port: int, holder: PortHolder) -> Finding:
    by = f"{holder.command[:MAX_COMMAND_WIDTH]} (pid {holder.pid})" if holder.pid else "a program of another user"
    summary = f"port {port}, which {program} needs, is held by {by}"
    first_step = f"if that is needed, choose another port for {program.partition(':')[0]}, `svc up`; else"
    if holder.is_leftover:
        return Finding(
            f"port.{port}",
            PROBLEM,
            summary,
            "it was started by an earlier supervisord of this site",
            fix=f"kill -9 {holder.pid}",
            causes=("leftovers",),
        )
    if holder.program:
        return Finding(
            f"port.{port}",
            PROBLEM,
            summary,
            f"that is this site's {holder.program}: it listens where it should not",
            first_step="correct the port in [backend] args",
            fix="svc up",
        )
    if holder.site:
        return Finding(
            f"port.{port}",
            PROBLEM,
            f"port {port}, which {program} needs, is held by the svc site in {holder.site}",
            by,
            first_step=f"choose another port for {program.partition(':')[0]}, `svc up`; or stop that site",
            fix=holder.stop_command,
        )
    if not holder.pid:
        return Finding(
            f"port.{port}",
            PROBLEM,
            summary,
            "it listens there, and /proc does not show which process it is",
            first_step=first_step,
            fix=f"{facts.sudo}ss -ltnp 'sport = :{port}'",
        )
    restart = {"BACKOFF": "", "STARTING": "", "": " && sleep 2 && svc up"}.get(
        facts.state(program), f" && sleep 2 && supervisorctl start {program}"
    )
    return Finding(
        f"port.{port}",
        PROBLEM,
        summary,
        f"it listens there, and {program} {_state_text(facts, program)}",
        first_step=first_step,
        fix=f"kill {holder.pid}{restart}",
    )


def _state_text(facts: Facts, program: str) -> str:
    return f"is {facts.state(program)}" if facts.state(program) else "does not run"


def _silent_program(facts: Facts, program: str, port: int) -> Iterator[Finding]:
    """Yield a finding if a running program does not listen on its port."""
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
            first_step=f"make [backend] args say port {port}",
            fix="svc up",
        )
    elif program.endswith(":server"):
        state = "it does not come up" if uptime > MAX_LOADING_SECONDS else "it may still load"
        last = next((line for line in reversed(facts.logs.get(program, ())) if line.strip()), "nothing")
        yield Finding(
            f"listen.{program}",
            PROBLEM if uptime > MAX_LOADING_SECONDS else WARNING,
            f"{program}: nothing listens on port {port} after {uptime} s: {state}",
            f"its log ends: {last[:MAX_COMMAND_WIDTH]}",
            causes=(f"restarts.{program}",),
            fix=f"supervisorctl restart {program}" if uptime > MAX_LOADING_SECONDS else "svc status --watch",
        )
    elif uptime > STARTUP_SECONDS:
        yield Finding(
            f"listen.{program}",
            PROBLEM,
            f"{program}: does not listen on port {port}",
            f"supervisord calls it RUNNING since {uptime} s",
            fix=f"supervisorctl restart {program}",
            may_pass=is_starting(facts, program),
        )
