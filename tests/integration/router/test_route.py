"""`POST /route` and `svc route`: the instance that is named gets the next request, and nothing is counted."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from svc.base.errors import NotFound
from svc.client.route_choice import ask_route
from svc.client.router_operator import RouterOperator
from tests.fork_server import SCRIPT
from tests.integration.fakes import Mock, mock
from tests.integration.router.routers import Router, router, service, static
from tests.waiting import wait_until

CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


@pytest.fixture(scope="module")
def mocks() -> Iterator[list[Mock]]:
    with mock("a", ["m"]) as a, mock("b", ["m"]) as b, mock("c", ["m"]) as c:
        yield [a, b, c]


@pytest.fixture
def services(mocks: list[Mock], tmp_path: Path) -> Path:
    return static(tmp_path / "static.json", [service(made.name, made.port, "m") for made in mocks])


def route(own: Router, body: object = CHAT, query: str = "", **headers: str) -> dict[str, Any]:
    answer = requests.post(f"{own.url}/route{query}", json=body, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def served_by(own: Router, body: object = CHAT, **headers: str) -> str:
    headers = {"X-Served-By": "?", **headers}
    answer = requests.post(f"{own.url}/v1/chat/completions", json=body, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.headers["X-Served-By"]


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("policy", ["round_robin", "session", "prefix"])
def test_the_next_request_gets_the_instance_that_is_named(services: Path, policy: str, processes: int):
    with router("--static-services", services, "--policy", policy, "--workers", processes) as own:
        for number in range(9):
            headers = {"X-Session-ID": str(number)}
            body = {"model": "m", "messages": [{"role": "user", "content": f"{number % 3} " * 1000}]}
            named = route(own, body, **headers)["instance"]
            assert route(own, body, **headers)["instance"] == named
            assert served_by(own, body, **headers) == named
            # One of several processes may count a request a moment longer than the client waits for its answer.
            wait_until(lambda: own.in_flight() == 0, description="the request's end to be counted")


def test_nothing_is_counted_and_no_instance_is_asked(services: Path, mocks: list[Mock], tmp_path: Path):
    log = tmp_path / "access.log"
    before = [made.stats()["requests"] for made in mocks]
    with router("--static-services", services, "--access-log", log, "--health-interval", 600) as own:
        for _ in range(5):
            route(own)
            route(own, {"model": "unknown"})
        stats = own.get("/stats").json()
        assert (stats["total_requests"], stats["in_flight"]) == (0, 0)
        assert "svc_router_requests_total{" not in own.get("/metrics").text
    assert not log.exists() or not log.read_text()
    assert [made.stats()["requests"] for made in mocks] == before


def test_a_large_body_is_read_like_that_of_a_request(services: Path):
    with router("--static-services", services, "--max-body", 1 << 20) as own:
        assert route(own, {**CHAT, "padding": "x" * 500_000})["instance"]
        assert requests.post(f"{own.url}/route", data=b"x" * (2 << 20), timeout=20).status_code == 413


def test_a_page_of_another_origin_may_not_ask(services: Path):
    with router("--static-services", services) as own:
        answer = requests.post(f"{own.url}/route", json=CHAT, headers={"Origin": "https://example.org"}, timeout=20)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_origin")


def command(own: Router, *arguments: object, body: object = None) -> subprocess.CompletedProcess[str]:
    data = None if body is None else json.dumps(body)
    words = [str(SCRIPT), "route", "--router-url", own.url, *map(str, arguments)]
    return subprocess.run(words, input=data, capture_output=True, text=True, timeout=60, check=False)


def test_the_command(services: Path, tmp_path: Path):
    with router("--static-services", services, "--policy", "session") as own:
        done = command(own, "-H", "X-Session-ID: s1", body=CHAT)
        assert done.returncode == 0, done.stderr
        assert "session    's1': the header x-session-id" in done.stdout
        file = tmp_path / "request.json"
        file.write_text(json.dumps(CHAT))
        answer = json.loads(command(own, file, "--json", "-H", "X-Session-ID: s1").stdout)
        assert f"instance   {answer['instance']}" in done.stdout
        refused = command(own, "-", body={"model": "unknown"})
        assert refused.returncode == 1
        assert "the request would get 503: No healthy services available for model 'unknown'; " in refused.stderr
        assert "'svc doctor --model unknown' shows why" in refused.stderr
        other = command(own, "-X", "GET", "--path", "/sleep")
        assert "the request would get 404: GET /sleep is not relayed" in other.stderr
    away = command(own, file)
    assert (away.returncode, "the router does not answer" in away.stderr) == (1, True)
    assert "start it with 'svc up', or correct --router-url" in away.stderr


def test_what_is_no_router_is_named(mocks: list[Mock]):
    with pytest.raises(NotFound, match="is no router, or is older than this command: no /route; correct --router-url"):
        ask_route(RouterOperator(mocks[0].url), "POST", "/v1/chat/completions", {}, b"{}")


def test_the_command_sends_an_operators_key(services: Path, tmp_path: Path):
    keys, secret = tmp_path / "keys.toml", tmp_path / "secret"
    made = subprocess.run(
        [str(SCRIPT), "keys", "add", "admin", "--operator", "--file", str(keys)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert made.returncode == 0, made.stderr
    secret.write_text(made.stdout)
    with router("--static-services", services, "--keys-file", keys) as own:
        assert command(own, "--key-file", secret, body=CHAT).returncode == 0
        refused = command(own, body=CHAT)
        assert (refused.returncode, "accepts only an operator's key; pass a file" in refused.stderr) == (1, True)
