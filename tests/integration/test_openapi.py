"""A running router and a running babysitter answer as their /openapi.json documents, tested with schemathesis.

The unit tests compare the answers of the apps with the documents, without a process.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.documented import CHECKS, run_schemathesis
from tests.integration.router.routers import BIN, service, static
from tests.waiting import free_port, free_port_pair, is_free, wait_until

pytestmark = pytest.mark.long
FLAGS = ("--phases", "examples,coverage", "--max-examples", "2", "--generation-deterministic")
OWN_PATHS = (
    r"^/(health|status|livez|readyz|models|v1/models.*|services|stats|metrics|route|openapi.json|"
    r"ui(/\{name\}|/.*drain.*)?)$"
)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """start(port, command, ...) runs svc until the test ends, and returns when it listens."""
    processes = []

    def run(port: int, *command: str) -> None:
        with (tmp_path / "log").open("ab") as log:
            processes.append(subprocess.Popen([BIN / "svc", *command], cwd=tmp_path, stdout=log, stderr=log))
        wait_until(lambda: not is_free(port), description=f"{command[0]} to listen: {(tmp_path / 'log').read_text()}")

    yield run
    for process in processes:
        process.terminate()
        process.wait(10)


def test_a_router_answers_as_documented(start, tmp_path):
    """Only on its own paths: what it relays is the engines' to document."""
    port = free_port()
    services = static(tmp_path / "static.json", [service("a", free_port(), "m")])
    start(port, "router", "--port", str(port), "--static-services", str(services))
    run_schemathesis(port, tmp_path, CHECKS, "--include-path-regex", f"^{OWN_PATHS}$", *FLAGS)


def test_a_babysitter_answers_as_documented(start, tmp_path):
    port = free_port_pair()
    (tmp_path / "a.toml").write_text(
        f'name = "a"\nport = {port}\nregistry_url = "http://localhost:{free_port()}"\n'
        '[backend]\ntype = "command"\ncommand = "true"\n'
    )
    start(port + 1, "babysitter", "--config-file", "a.toml")
    run_schemathesis(port + 1, tmp_path, CHECKS, *FLAGS)
