"""One mock behind two routers: one that everybody may use, and one that requires a key."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.document import MODEL
from tests.fork_server import SCRIPT
from tests.integration.fakes import Mock, mock
from tests.integration.router.routers import Router, router, service, static


@dataclass(frozen=True)
class Routers:
    mock: Mock
    services: Path
    open: Router
    keyed: Router
    secret: str

    def paths(self) -> dict[str, int]:
        """Return how often clients sent requests to each path of an API."""
        return {path: count for path, count in self.mock.stats()["by_path"].items() if path.startswith("/v1/")}


@pytest.fixture(scope="module")
def routers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routers]:
    root = tmp_path_factory.mktemp("routers")
    keys = root / "keys.toml"
    command = [str(SCRIPT), "keys", "add", "team", "--file", str(keys)]
    secret = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()
    with ExitStack() as stack:
        demo = stack.enter_context(mock("demo", (MODEL,)))
        services = static(root / "static.json", [service("demo", demo.port, MODEL)])
        flags = ("--static-services", services)
        unlocked = stack.enter_context(router(*flags))
        locked = stack.enter_context(router(*flags, "--keys-file", keys))
        yield Routers(demo, services, unlocked, locked, secret)
        unlocked.assert_no_exception()
        locked.assert_no_exception()
