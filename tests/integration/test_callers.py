"""Which callers may use which endpoints of the three servers, over real HTTP; docs/SECURITY.md describes it.

`yes`: the endpoint served the caller. `no`: the caller was refused. `blind`: the endpoint answered, and a browser hides
the answer from the page. No caller accepts text/html, as browsers do that the router redirects from / to its page. Each
server is tried as it is by default, on loopback and without secrets, and as it is for a network, with them.
"""

import datetime
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.exceptions import HTTPException

from svc.config import router_keys
from svc.config.router_key_entry import KeyEntry
from svc.registry.app import ROUTES
from svc.router.app import create_app as create_router_app
from tests.fork_server import SERVER_MODULES, start_server
from tests.integration.callers import PAGE, REBOUND, Caller, bearer, outcome, rows
from tests.integration.router.routers import BIN, service, static
from tests.unit.registry.services import registration
from tests.unit.router.examples import state
from tests.waiting import free_port, free_port_pair, other_address, wait_until

REGISTRY_BY_DEFAULT = """
                               program page  rebound
GET    /health                 yes     blind no
GET    /services               yes     blind no
GET    /loads                  yes     blind no
GET    /gpus                   yes     blind no
POST   /services               yes     no    no
GET    /services/a             yes     blind no
PUT    /services/a             yes     no    no
POST   /services/a/heartbeat   yes     no    no
POST   /services/a/load        yes     no    no
POST   /services/a/gpus        yes     no    no
GET    /services/a/health      yes     blind no
POST   /services/a/drain       yes     no    no
POST   /services/a/undrain     yes     no    no
POST   /expire                 yes     no    no
GET    /events                 yes     blind no
POST   /events                 yes     no    no
GET    /stats                  yes     blind no
GET    /metrics                yes     blind no
GET    /sd/prometheus          yes     blind no
GET    /openapi.json           yes     blind no
DELETE /services/a             yes     no    no
"""
REGISTRY_WITH_TOKENS = """
                               program lan  read write alice page
GET    /health                 yes     yes  yes  yes   yes   blind
GET    /services               yes     no   yes  yes   yes   no
GET    /loads                  yes     no   yes  yes   yes   no
GET    /gpus                   yes     no   yes  yes   yes   no
POST   /services               yes     no   no   yes   yes   no
GET    /services/a             yes     no   yes  yes   yes   no
PUT    /services/a             yes     no   no   yes   yes   no
POST   /services/a/heartbeat   yes     no   no   yes   yes   no
POST   /services/a/load        yes     no   no   yes   yes   no
POST   /services/a/gpus        yes     no   no   yes   yes   no
GET    /services/a/health      yes     no   yes  yes   yes   no
POST   /services/a/drain       yes     no   no   yes   yes   no
POST   /services/a/undrain     yes     no   no   yes   yes   no
POST   /expire                 yes     no   no   yes   yes   no
GET    /events                 yes     no   yes  yes   yes   no
POST   /events                 yes     no   yes  yes   yes   no
GET    /stats                  yes     no   yes  yes   yes   no
GET    /metrics                yes     no   yes  yes   yes   no
GET    /sd/prometheus          yes     no   yes  yes   yes   no
GET    /openapi.json           yes     yes  yes  yes   yes   blind
DELETE /services/a             yes     no   no   yes   yes   no
"""
ROUTER_BY_DEFAULT = """
                               program page  rebound
GET    /livez                  yes     blind no
GET    /readyz                 yes     blind no
GET    /health                 yes     blind no
GET    /status                 yes     blind no
GET    /metrics                yes     blind no
GET    /openapi.json           yes     blind no
GET    /models                 yes     blind no
GET    /v1/models              yes     blind no
GET    /v1/models/m            yes     blind no
GET    /services               yes     blind no
GET    /stats                  yes     blind no
GET    /usage                  yes     blind no
GET    /                       no      no    no
GET    /ui                     yes     blind no
GET    /ui/                    yes     blind no
GET    /ui/page.js             yes     blind no
GET    /ui/stream              yes     blind no
POST   /route                  yes     no    no
GET    /ui/wake/a              yes     blind no
POST   /ui/drain/a             yes     no    no
POST   /ui/undrain/a           yes     no    no
POST   /instances/a/wake       yes     no    no
POST   /instances/a/sleep      yes     no    no
POST   /models/m/wake          yes     no    no
POST   /models/load            no      no    no
POST   /v1/chat/completions    yes     no    no
POST   /chat/completions       yes     no    no
POST   /sleep                  no      no    no
POST   /v1/load_lora_adapter   no      no    no
GET    /v1/../sleep            no      no    no
"""
ROUTER_WITH_KEYS = """
                               program lan  client operator page
GET    /livez                  yes     yes  yes    yes      blind
GET    /readyz                 yes     yes  yes    yes      blind
GET    /health                 yes     yes  yes    yes      blind
GET    /status                 yes     yes  yes    yes      blind
GET    /metrics                yes     yes  yes    yes      blind
GET    /openapi.json           yes     yes  yes    yes      blind
GET    /models                 no      no   yes    yes      no
GET    /v1/models              no      no   yes    yes      no
GET    /v1/models/m            no      no   yes    yes      no
GET    /services               no      no   yes    yes      no
GET    /stats                  no      no   yes    yes      no
GET    /usage                  no      no   no     yes      no
GET    /                       no      no   no     yes      no
GET    /ui                     yes     yes  yes    yes      blind
GET    /ui/                    yes     yes  yes    yes      blind
GET    /ui/page.js             yes     yes  yes    yes      blind
GET    /ui/stream              no      no   yes    yes      no
POST   /route                  no      no   no     yes      no
GET    /ui/wake/a              no      no   no     yes      no
POST   /ui/drain/a             no      no   yes    yes      no
POST   /ui/undrain/a           no      no   yes    yes      no
POST   /instances/a/wake       no      no   no     yes      no
POST   /instances/a/sleep      no      no   no     yes      no
POST   /models/m/wake          no      no   no     yes      no
POST   /models/load            no      no   no     yes      no
POST   /v1/chat/completions    no      no   yes    yes      no
POST   /chat/completions       no      no   yes    yes      no
POST   /sleep                  no      no   no     yes      no
POST   /v1/load_lora_adapter   no      no   no     yes      no
GET    /v1/../sleep            no      no   no     yes      no
"""
BABYSITTER_BY_DEFAULT = """
                               program page  rebound
GET    /health                 yes     blind no
GET    /models                 yes     blind no
GET    /v1/models              yes     blind no
GET    /info                   yes     blind no
GET    /metrics                yes     blind no
GET    /openapi.json           yes     blind no
POST   /models/refresh         yes     no    no
GET    /wake                   yes     blind no
POST   /wake                   yes     no    no
POST   /sleep                  yes     no    no
"""
BABYSITTER_ON_A_NETWORK = """
                               program lan  page
GET    /health                 yes     yes  blind
GET    /models                 yes     yes  blind
GET    /v1/models              yes     yes  blind
GET    /info                   yes     yes  blind
GET    /metrics                yes     yes  blind
GET    /openapi.json           yes     yes  blind
POST   /models/refresh         yes     yes  no
GET    /wake                   yes     yes  blind
POST   /wake                   yes     yes  no
POST   /sleep                  yes     yes  no
"""
CREATED = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
BY_DEFAULT = {"program": Caller(), "page": Caller(headers=PAGE), "rebound": Caller(headers=REBOUND)}
Start = Callable[..., int]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(port, command, ...) runs svc in a directory of its own until the test ends, and returns when it listens."""
    processes: list[Any] = []

    def run(port: int, *command: object) -> int:
        with (tmp_path / "log").open("ab") as log:
            words = list(map(str, command))
            if words[0] in SERVER_MODULES:
                process: Any = start_server(*words, cwd=tmp_path, env=os.environ, out=log)
            else:
                process = subprocess.Popen([BIN / "svc", *words], cwd=tmp_path, stdout=log, stderr=log)
        processes.append(process)
        wait_until(lambda: is_listening(port), description=f"{command[0]} to listen: {(tmp_path / 'log').read_text()}")
        return port

    yield run
    for process in processes:
        process.terminate()
        process.wait(10)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def bodies(host: str) -> dict[str, bytes]:
    """Return the bodies for the endpoints that need more than an empty object; `host` is the service's."""
    event = {"kind": "ejected", "service": "a", "source": "router-x", "message": "for the test"}
    return {
        "/services": json.dumps(registration("a", host=host)).encode(),
        "/services/a": b'{"weight": 2}',
        "/services/a/load": b'{"running": 1, "waiting": 0, "interval": 2}',
        "/services/a/gpus": b'{"hostname": "gpu7", "tool": "nvidia-smi"}',
        "/events": json.dumps({"events": [event]}).encode(),
    }


def compare(port: int, table: str, callers: dict[str, Caller], host: str = "localhost") -> None:
    """Send a request to every endpoint of the table as every caller, and compare the outcomes."""
    differences = []
    for row in rows(table):
        for name, expected in row.outcomes.items():
            result = outcome(callers[name], port, row.method, row.path, bodies(host).get(row.path, b"{}"))
            if result != expected:
                differences.append(f"{name}: {row.method} {row.path}: {result}, not {expected}")
    assert differences == []


def network(**credentials: str) -> dict[str, Caller]:
    """Return the callers of a server that listens on all addresses; `credentials`: secrets by the caller's name."""
    address = other_address()
    callers = {"program": Caller(), "lan": Caller(address), "page": Caller(address, PAGE)}
    return callers | {name: Caller(address, bearer(secret)) for name, secret in credentials.items()}


def test_a_registry_by_default(start: Start):
    port = free_port()
    start(port, "registry", "--port", port)
    compare(port, REGISTRY_BY_DEFAULT, BY_DEFAULT)


def test_a_registry_with_tokens(start: Start, tmp_path: Path):
    port, tokens = free_port(), {"read": "r" * 32, "write": "w" * 32, "alice": "a" * 32}
    (tmp_path / "read").write_text(tokens["read"])
    (tmp_path / "write").write_text(f'[tokens]\nfleet = "{tokens["write"]}"\nalice = "{tokens["alice"]}"\n')
    flags = ("--host", "0.0.0.0", "--token-file", "write", "--read-token-file", "read")
    start(port, "registry", "--port", port, *flags)
    compare(port, REGISTRY_WITH_TOKENS, network(**tokens), other_address())


def test_a_router_by_default(start: Start, tmp_path: Path):
    port = free_port()
    services = static(tmp_path / "static.json", [service("a", free_port(), "m")])
    start(port, "router", "--port", port, "--static-services", services)
    compare(port, ROUTER_BY_DEFAULT, BY_DEFAULT)


def test_a_router_with_keys(start: Start, tmp_path: Path):
    port = free_port()
    services = static(tmp_path / "static.json", [service("a", free_port(), "m")])
    keys = tmp_path / "keys.toml"
    entries = {
        name: KeyEntry(router_keys.digest(name), CREATED, operator=name == "operator")
        for name in ("client", "operator")
    }
    keys.write_text(router_keys.render(entries))
    start(port, "router", "--port", port, "--host", "0.0.0.0", "--static-services", services, "--keys-file", keys)
    compare(port, ROUTER_WITH_KEYS, network(client="client", operator="operator"))


@pytest.mark.parametrize("host", ["localhost", "a LAN address"])
def test_a_babysitter(start: Start, tmp_path: Path, host: str):
    port = free_port_pair()
    is_local = host == "localhost"
    host = host if is_local else other_address()
    (tmp_path / "a.toml").write_text(
        f'name = "a"\nhost = "{host}"\nport = {port}\nregistry_url = "http://{host}:{free_port()}"\n'
        '[backend]\ntype = "command"\ncommand = "true"\n'
    )
    start(port + 1, "babysitter", "--config-file", "a.toml")
    compare(port + 1, *((BABYSITTER_BY_DEFAULT, BY_DEFAULT) if is_local else (BABYSITTER_ON_A_NETWORK, network())))


def paths(table: str) -> set[tuple[str, str]]:
    return {(row.method, row.path) for row in rows(table)}


def test_every_endpoint_of_the_registry_is_in_the_tables():
    routes = {(method, path.replace("<name>", "a")) for method, path, *_ in ROUTES}
    assert paths(REGISTRY_BY_DEFAULT) == paths(REGISTRY_WITH_TOKENS) == routes


def test_every_endpoint_of_the_router_is_in_the_tables():
    assert paths(ROUTER_BY_DEFAULT) == paths(ROUTER_WITH_KEYS)
    assert covers_every_endpoint(create_router_app(state()), ROUTER_BY_DEFAULT)


def covers_every_endpoint(app: Flask, table: str) -> bool:
    """Return whether the rows of the table cover every endpoint of the application."""
    urls = app.url_map.bind("localhost")
    covered = set()
    for method, path in paths(table):
        with suppress(HTTPException):
            covered.add(urls.match(path, method)[0])
    return covered == {rule.endpoint for rule in app.url_map.iter_rules()}
