"""What `svc doctor` finds at a site, and the cures that it prints, applied as an operator pastes them into a shell."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tests.doctor_cures import is_cure
from tests.e2e.sites import BIN, Site, clean_environ, http
from tests.e2e.traffic import Traffic
from tests.fork_server import ForkedCommand
from tests.waiting import wait_until

Finding = dict[str, Any]
EVERY_PROGRAM = ("*",)
COMMAND_SECONDS = 90
INTERVAL_SECONDS = 0.8  # between two runs of a command whose output is waited for, each of which takes 0.2 s of CPU
NO_LIMITS: Mapping[str, float] = {}
WITH_LIMITS = """
import importlib, json, sys
for name, value in json.loads(sys.argv[1]).items():
    module, _, constant = name.rpartition(".")
    assert hasattr(importlib.import_module("svc.doctor." + module), constant)
    setattr(importlib.import_module("svc.doctor." + module), constant, value)
sys.argv = sys.argv[2:]
from svc.__main__ import main
main()
"""
PROGRAM_PATH = re.compile(r"(?:[^\s'\"]*/)(svc|supervisorctl)(?= )")


def doctor(
    site: Site, *arguments: str, status: int | None = 1, limits: Mapping[str, float] = NO_LIMITS, user: str = ""
) -> list[Finding]:
    """Return the findings, the one to cure first at the beginning; with `user`, those that this user gets.

    `limits` are constants of the doctor with the values that they have in this run, as "MODULE.NAME": a test does not
    wait for a quarter of an hour until a model has been loading for too long.
    """
    command = ("svc", "doctor", "--json", *arguments)
    if limits:
        command = (sys.executable, "-c", WITH_LIMITS, json.dumps(limits), str(BIN / "svc"), *command[1:])
    if user:
        forked = ForkedCommand(command[1:], site.root, clean_environ(), user=user)
        result = json.loads(forked.communicate(COMMAND_SECONDS)[0])
    else:
        result = json.loads(site.run(*command, status=status)[0])
    assert result["ok"] == (result["problems"] == 0)
    return result["findings"]


def everything(findings: list[Finding]) -> dict[str, Finding]:
    """Return causes and consequences, by key."""
    by_key = {}
    for finding in findings:
        by_key |= {finding["key"]: finding, **everything(finding["consequences"])}
    return by_key


def find(
    site: Site,
    key: str,
    *arguments: str,
    fix: str = "*",
    timeout: float = 30,
    limits: Mapping[str, float] = NO_LIMITS,
    user: str = "",
) -> Finding:
    """Return the finding with this key, as soon as the doctor has one with such a cure."""

    def finding() -> Finding | None:
        found = everything(doctor(site, *arguments, status=None, limits=limits, user=user)).get(key)
        return found if found and fnmatchcase(found["fix"], fix) else None

    return wait_until(
        finding, timeout, lambda: f"{key}, not {doctor(site, *arguments, status=None)}", interval=INTERVAL_SECONDS
    )


def run_command(site: Site, command: str, status: int | None = 0, shell: str = "bash") -> str:
    """Run a command line in the site's directory, and return its output."""
    ran = subprocess.run(
        [shell, "-c", command],
        cwd=site.root,
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    assert status is None or ran.returncode == status, f"{command}: {ran.returncode}: {ran.stdout}{ran.stderr}"
    return ran.stdout + ran.stderr


def wait_for_start(site: Site, program: str, ended: int) -> int:
    """Return the pid of a program as soon as supervisord has started it again. `ended`: the pid that it had before.

    Until it runs the program, the process is a copy of supervisord, which cannot signal its group yet.
    """

    def started() -> int:
        pid = site.pid(program)
        is_started = pid not in (0, ended) and _command(pid) not in (b"", _command(site.supervisord.pid()))
        return pid if is_started else 0

    return wait_until(started, 30, f"the start of {program}", interval=0.01)


def _command(pid: int) -> bytes:
    """Return the command line of a process, empty if it has ended."""
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return b""


def wait_until_healthy(site: Site, *arguments: str) -> None:
    """Wait until the doctor has no findings and requests are answered."""

    def healed() -> bool:
        return not doctor(site, *arguments, status=None)

    wait_until(healed, 45, lambda: f"health, not {doctor(site, *arguments, status=None)}", interval=INTERVAL_SECONDS)
    assert site.chat().status_code == 200


def stop_server(site: Site) -> None:
    """Stop the server of the instance `one`, and wait until its babysitter has reported that to the registry."""
    site.run("supervisorctl", "stop", "one:server")
    wait_until(lambda: site.service("one-server")["status"] == "stopped", 30, "the report of its babysitter")


class Cures:
    """Applies cures, and checks that each leaves alone what is not ill. `declared` are those that the test applies."""

    def __init__(self, declared: Sequence[str]) -> None:
        self.remaining = list(declared)

    def apply(
        self,
        site: Site,
        finding: Finding,
        *arguments: str,
        restarts: Collection[str] = (),
        leaves: Collection[str] = (),
        status: int | None = 0,
        command: str = "",
    ) -> str:
        """Run the cure, wait until the finding is gone, and return the output.

        `restarts` are the programs that the cure may restart, and `leaves` the findings that may remain, as patterns.
        All other programs keep their pids, their services stay registered, and the model `n`, if there is such an
        instance, answers every request meanwhile, unless the whole site is restarted. `command` is the cure with what
        the operator puts before it.
        """
        self._is_declared(finding)
        with _undisturbed(site, restarts):
            out = run_command(site, command or finding["fix"], status)
            self.wait_until_gone(site, finding["key"], *arguments, leaves=leaves)
        return out

    def wait_until_gone(self, site: Site, key: str, *arguments: str, leaves: Collection[str] = ()) -> None:
        """Wait until the doctor no longer has the finding, nor a problem that is none of `leaves`."""

        def remaining() -> list[str]:
            findings = everything(doctor(site, *arguments, status=None))
            return [
                name
                for name, finding in findings.items()
                if name == key
                or (finding["severity"] == "problem" and not any(fnmatchcase(name, left) for left in leaves))
            ]

        wait_until(
            lambda: not remaining(), 45, lambda: f"{key} to be gone, not {remaining()}", interval=INTERVAL_SECONDS
        )

    def look(
        self, site: Site, finding: Finding, text: str = "", status: int | None = 0, changing: Collection[str] = ()
    ) -> str:
        """Run a cure that only shows something, until its output has the text, and return the output.

        A program may show later than the doctor what is wrong, such as the router that it cannot read its keys.

        `changing` are programs whose services may change by themselves meanwhile.
        """
        self._is_declared(finding)
        outputs: list[str] = []

        def shows() -> bool:
            outputs.append(run_command(site, finding["fix"], status))
            return text in outputs[-1]

        with _undisturbed(site, changing):
            wait_until(shows, 30, f"{finding['fix']} to show {text}", interval=INTERVAL_SECONDS)
        return outputs[-1]

    def watch(self, site: Site, finding: Finding, passes: Callable[[], object], changing: Collection[str] = ()) -> None:
        """Run a cure that goes on until Ctrl-C, meanwhile let the cause pass, and wait until the finding is gone.

        `changing` are programs whose services may change by themselves meanwhile.
        """
        self._is_declared(finding)
        command = PROGRAM_PATH.sub(r"\1", finding["fix"])
        with _undisturbed(site, changing), tempfile.TemporaryFile("w+") as out:
            process = site.start(*command.split(), out=out)
            try:
                wait_until(lambda: os.fstat(out.fileno()).st_size, 30, f"output of {command}")
                passes()
                self.wait_until_gone(site, finding["key"])
            finally:
                os.kill(process.pid, signal.SIGINT)
                process.wait(30)

    def _is_declared(self, finding: Finding) -> None:
        command = PROGRAM_PATH.sub(r"\1", finding["fix"])
        matching = [cure for cure in self.remaining if is_cure(cure, finding["key"], command)]
        assert matching, f"{finding['key']}: {command}: is none of the test's cures, {self.remaining}"
        self.remaining.remove(matching[0])


@contextmanager
def _undisturbed(site: Site, restarts: Collection[str]) -> Iterator[None]:
    """Check that programs other than `restarts` keep their pids and services, and that the model `n` is served."""
    if restarts == EVERY_PROGRAM or not site.control_answers():
        yield
        return
    pids, services = _pids(site, restarts), _services(site, restarts)
    if not _serves_n(site):
        yield
    else:
        with Traffic(site.router, "n", clients=1, pause_seconds=0.1) as traffic:
            yield
        assert not traffic.failures
        assert traffic.answered
    assert not dict(pids.items() - _pids(site, restarts).items()), "restarted"
    assert not dict(services.items() - _services(site, restarts).items()), "no longer registered"


def _pids(site: Site, without: Collection[str]) -> dict[str, int]:
    return {
        name: process.pid
        for name, process in site.supervisord.processes().items()
        if process.state == "RUNNING" and not any(fnmatchcase(name, pattern) for pattern in without)
    }


def _services(site: Site, without: Collection[str]) -> dict[str, tuple[str, str]]:
    """Return the address and status of every service of a running program."""
    try:
        listed = http.get(f"{site.registry}/services", timeout=5).json()["services"]
    except (OSError, KeyError, ValueError):
        return {}
    groups = {name.partition(":")[0] for name in _pids(site, ())} - {name.partition(":")[0] for name in without}
    return {s["name"]: (s["url"], s["status"]) for s in listed if s["name"].removesuffix("-server") in groups}


def _serves_n(site: Site) -> bool:
    body = {"model": "n", "messages": [{"role": "user", "content": "Hello"}]}
    try:
        return http.post(f"{site.router}/v1/chat/completions", json=body, timeout=5).ok
    except OSError:
        return False
