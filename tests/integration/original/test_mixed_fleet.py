"""A fleet moves from the original to svc, and back, part by part: after each step every instance is served.

The original's parts are stand-ins; with ORIGINAL_SVC_BIN they are its own programs (tests/README.md).
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.babysitter.processes import SVC, LoggedProcess
from tests.integration.fakes import mock
from tests.integration.original import programs, stand_ins
from tests.waiting import free_port, free_port_pair, wait_until

TOML = """
name = "{name}"
host = "127.0.0.1"
port = {port}
registry_url = "{registry}"
[babysitter]
heartbeat_interval = 1
[backend]
type = "command"
command = "sleep"  # the instance itself is a process of the test, so that it outlives each babysitter
args = ["86400"]
"""


class Fleet:
    """A registry, a router, and the babysitters of two instances, each of either kind, always at the same address."""

    def __init__(self, place: Path, ports: dict[str, int], real: bool) -> None:
        self._place = place
        self._ports = {**ports, "registry": free_port(), "router": free_port()}
        self._real = real
        self._parts: dict[str, Any] = {}
        self.registry, self.router = (f"http://127.0.0.1:{self._ports[part]}" for part in ("registry", "router"))
        for name, port in ports.items():
            (place / f"{name}.toml").write_text(TOML.format(name=name, port=port, registry=self.registry))
        self._names = {name for instance in ports for name in (instance, f"{instance}-server")}

    def use(self, part: str, kind: str) -> None:
        """Replace a part by one of this kind, `svc` or `original`; wait for a registry to answer.

        The original's babysitter registers itself once, when it starts.
        """
        if part in self._parts:
            self._parts[part].end()
        self._parts[part] = self._svc(part) if kind == "svc" else self._original(part)
        if part == "registry":
            wait_until(self._registry_answers, 30, "the registry answers")

    def end(self) -> None:
        for part in self._parts.values():
            with suppress(ProcessLookupError):
                part.end()

    def await_served(self) -> None:
        """Wait until the registry lists every service as healthy, and the router serves every instance's model."""
        wait_until(lambda: self._healthy() == self._names, 30, f"{self._names} are healthy at the registry")
        for name in ("a", "b"):
            wait_until(lambda name=name: self._answer(name) == 200, 30, f"the router serves {name}")

    def _registry_answers(self) -> bool:
        with suppress(requests.ConnectionError):
            return requests.get(f"{self.registry}/health", timeout=10).ok
        return False

    def _healthy(self) -> set[str]:
        with suppress(requests.ConnectionError):
            answer = requests.get(f"{self.registry}/services?healthy=True", timeout=10).json()
            return {service["name"] for service in answer["services"]}
        return set()

    def _answer(self, model: str) -> int:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        with suppress(requests.ConnectionError):
            return requests.post(f"{self.router}/v1/chat/completions", json=body, timeout=10).status_code
        return 0

    def _svc(self, part: str) -> LoggedProcess:
        flags: dict[str, list[object]] = {
            "registry": ["--store", f"sqlite:{self._place}/registry.db", "--health-interval", 1],
            "router": ["--registry-url", self.registry, "--registry-sync-interval", 1, "--host", "127.0.0.1"],
        }
        if part in flags:
            arguments = [part, "--port", self._ports[part], *flags[part]]
        else:
            arguments = ["babysitter", "--config-file", f"{part}.toml"]
        return LoggedProcess([*SVC, *arguments], self._place, self._place / f"{part}.log")

    def _original(self, part: str) -> Any:
        port, place = self._ports[part], self._place
        makers: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "registry": (lambda: stand_ins.Registry(port).start(), lambda: programs.registry(port, place)),
            "router": (
                lambda: stand_ins.Router(port, self.registry).start(),
                lambda: programs.router(port, self.registry, place),
            ),
        }
        babysitter = (
            lambda: stand_ins.Babysitter(part, port, self.registry).start(),
            lambda: programs.babysitter(part, port, self.registry, place / f"{part}.toml", place),
        )
        return makers.get(part, babysitter)[self._real]()


@pytest.fixture
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    with mock("a", ["a"], free_port_pair()) as a, mock("b", ["b"], free_port_pair()) as b:
        made = Fleet(tmp_path, {"a": a.port, "b": b.port}, request.param)
        yield made
        made.end()


REAL = pytest.param(True, marks=pytest.mark.skipif(not programs.directory(), reason=f"{programs.VARIABLE} is not set"))


@pytest.mark.parametrize("fleet", [False, REAL], indirect=True, ids=["stand-ins", "programs"])
def test_every_part_can_be_replaced_by_itself(fleet: Fleet):
    for part in ("registry", "router", "a", "b"):
        fleet.use(part, "original")
    fleet.await_served()
    fleet.use("a", "svc")
    fleet.await_served()
    fleet.use("router", "svc")
    fleet.await_served()
    fleet.use("registry", "svc")
    fleet.use("b", "original")  # it registers only when it starts
    fleet.await_served()
    fleet.use("router", "original")
    fleet.await_served()
    fleet.use("registry", "original")  # a's babysitter registers again by itself
    fleet.use("router", "svc")
    fleet.use("b", "svc")
    fleet.await_served()
