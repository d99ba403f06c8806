"""Follow-ups reach the instance that made a response, a file or a batch, in whichever process of the router."""

import itertools
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.fakes import Mock, mock
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.registry import Registry, registry
from tests.integration.router.registry import instance as registered
from tests.integration.router.routers import Router, router, service, static
from tests.waiting import wait_until

ROUNDS = 12
PROCESSES = [1, 3]


@pytest.fixture(scope="module")
def mocks() -> Iterator[tuple[Mock, Mock]]:
    with mock("a", ["m"]) as a, mock("b", ["m"]) as b:
        yield a, b


@pytest.fixture
def services(mocks: tuple[Mock, Mock], tmp_path: Path) -> Path:
    return static(tmp_path / "static.json", [service(made.name, made.port, "m") for made in mocks])


@contextmanager
def balanced(services: Path, processes: int = 1, *more: object) -> Iterator[Router]:
    """Run a router that gives its instances requests in turn, once it has found both healthy."""
    flags = ("--static-services", services, "--policy", "round_robin", "--workers", processes, "--health-interval", 1)
    with router(*flags, *more) as own:
        wait_until(lambda: own.get("/health").json()["healthy_services"] == "2/2", timeout=60)
        yield own


def send(own: Router, method: str, path: str, body: object = None, **headers: str) -> requests.Response:
    """Send a request on a connection of its own, so that any of the router's processes may get it."""
    return requests.request(method, own.url + path, json=body, headers=headers, timeout=20)


def made(own: Router, **fields: Any) -> str:
    answer = send(own, "POST", "/v1/responses", {"model": "m", "input": "x", **fields})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def streamed(own: Router, **fields: Any) -> str:
    """Return the id in the first event, read while the stream still runs."""
    body = {"model": "m", "input": "x", "stream": True, **fields}
    with requests.post(f"{own.url}/v1/responses", json=body, stream=True, timeout=20) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith(b"data: "))
        event = json.loads(next(lines).removeprefix(b"data: "))
        for _ in lines:
            pass
    return str(event["response"]["id"])


def others_between(own: Router, count: int) -> None:
    for _ in range(count):
        assert send(own, "POST", "/v1/chat/completions", {"model": "m", "messages": []}).status_code in (200, 400)


@pytest.mark.parametrize("processes", PROCESSES)
def test_no_follow_up_of_a_response_misses(services: Path, processes: int):
    with balanced(services, processes) as own:
        owners = set()
        for number in range(ROUNDS):
            response_id = made(own, background=True)
            owners.add(response_id.split("-")[1])
            others_between(own, number % 3)
            statuses = [
                send(own, "GET", f"/v1/responses/{response_id}").status_code,
                send(own, "GET", f"/v1/responses/{response_id}/input_items").status_code,
                send(own, "POST", f"/v1/responses/{response_id}/cancel").status_code,
                send(
                    own, "POST", "/v1/responses", {"model": "m", "input": "y", "previous_response_id": response_id}
                ).status_code,
            ]
            assert statuses == [200] * 4
            assert send(own, "DELETE", f"/v1/responses/{response_id}").status_code == 200
            assert send(own, "GET", f"/v1/responses/{response_id}").status_code == 404
        assert owners == {"a", "b"}


@pytest.mark.parametrize("processes", PROCESSES)
def test_no_follow_up_of_a_streamed_response_misses(services: Path, processes: int):
    with balanced(services, processes) as own:
        for number in range(ROUNDS):
            response_id = streamed(own)
            others_between(own, number % 2)
            assert send(own, "GET", f"/v1/responses/{response_id}").status_code == 200
            assert streamed(own, previous_response_id=response_id)


def test_after_a_restart_of_the_instance_the_404_is_its_own(tmp_path: Path):
    with mock("a", ["m"]) as a, mock("b", ["m"]) as b:
        path = static(tmp_path / "static.json", [service(made.name, made.port, "m") for made in (a, b)])
        with balanced(path) as own:
            ids = [made(own) for _ in range(4)]
            a.kill()
            a.start()
            for response_id in sorted(ids):
                answer = send(own, "GET", f"/v1/responses/{response_id}")
                of_a = response_id.startswith("resp-a-")
                assert answer.status_code == (404 if of_a else 200)
                if of_a:
                    assert answer.json()["error"]["message"] == f"Response with id '{response_id}' not found."


@pytest.mark.parametrize("processes", PROCESSES)
def test_a_hup_forgets_no_object(services: Path, processes: int):
    with balanced(services, processes) as own:
        ids = [made(own) for _ in range(4)]
        before = set(own.processes())
        os.kill(own.process.pid, signal.SIGHUP)
        wait_until(
            lambda: before.isdisjoint(own.processes()) and len(own.processes()) == len(before),
            timeout=60,
            description="the new processes",
        )
        assert [send(own, "GET", f"/v1/responses/{i}").status_code for i in ids for _ in range(3)] == [200] * 12


@pytest.mark.parametrize("processes", PROCESSES)
def test_a_restarted_router_knows_the_objects_of_the_last_one(services: Path, tmp_path: Path, processes: int):
    more = ("--state-file", tmp_path / "table.json")
    with balanced(services, processes, *more) as own:
        ids = [made(own) for _ in range(4)]
        own.process.terminate()
        own.process.wait(30)
    with balanced(services, processes, *more) as own:
        assert [send(own, "GET", f"/v1/responses/{i}").status_code for i in ids for _ in range(3)] == [200] * 12


class Store:
    """A script of an instance that keeps files and batches."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._numbers = itertools.count(1)
        self._kept: set[str] = set()

    def __call__(self, peer: Peer, received: ReceivedRequest) -> None:
        method, path = received.line.decode().split()[:2]
        named = path.split("/")[3] if path.count("/") > 2 else ""
        if received.body[:1] == b"{":
            named = json.loads(received.body).get("input_file_id", named)
        if named and named not in self._kept:
            self._answer(peer, 404, {"error": {"message": f"{named} not found at {self._name}"}})
        elif method == "POST" and path.count("/") == 2:
            object_id = f"{path.split('/')[2]}-{self._name}{next(self._numbers)}"
            self._kept.add(object_id)
            self._answer(peer, 200, {"object": "x", "bytes": 7, "id": object_id})
        else:
            self._answer(peer, 200, self._object(named, path))

    def _object(self, object_id: str, path: str) -> dict[str, Any]:
        """Return the object; a batch has made a file."""
        if not path.startswith("/v1/batches/"):
            return {"id": object_id}
        self._kept.add(output := f"{object_id}-output")
        return {"id": object_id, "endpoint": "/v1/chat/completions", "output_file_id": output}

    def _answer(self, peer: Peer, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(data))
        peer.send(head)
        peer.send(data)


def test_files_and_batches_stay_where_they_are(tmp_path: Path):
    a, b = Instance(), Instance()
    a.script, b.script = Store("a"), Store("b")
    path = static(tmp_path / "static.json", [service("a", a.port, "m"), service("b", b.port, "m")])
    flags = ("--static-services", path, "--policy", "round_robin", "--allow-paths", "/v1/files*,/v1/batches*")
    with router(*flags) as own:
        for number in range(ROUNDS):
            upload = {"file": ("batch.jsonl", b"{}"), "purpose": (None, "batch")}
            file_id = requests.post(f"{own.url}/v1/files", files=upload, timeout=20).json()["id"]
            for _ in range(number % 3):
                send(own, "GET", "/v1/files")
            batch = send(own, "POST", "/v1/batches", {"input_file_id": file_id, "endpoint": "/v1/chat/completions"})
            assert batch.status_code == 200
            batch_id = batch.json()["id"]
            for method, follow_up in (
                ("GET", f"/v1/files/{file_id}/content"),
                ("GET", f"/v1/files/{file_id}"),
                ("GET", f"/v1/batches/{batch_id}"),
                ("GET", f"/v1/files/{batch_id}-output/content"),
                ("POST", f"/v1/batches/{batch_id}/cancel"),
                ("DELETE", f"/v1/files/{file_id}"),
            ):
                assert send(own, method, follow_up).status_code == 200, (number, method, follow_up)
    a.close()
    b.close()


def test_a_drained_instance_still_gets_the_requests_about_its_objects(mocks: tuple[Mock, Mock]):
    with registry() as fake:
        list_mocks(fake, mocks)
        with router("--registry-url", fake.url, "--registry-sync-interval", 0.2, "--policy", "round_robin") as own:
            ids = [made(own) for _ in range(4)]
            list_mocks(fake, mocks, drained="a")
            wait_until(lambda: own.service("a")["drained"], description="a to be drained")
            assert [send(own, "GET", f"/v1/responses/{i}").status_code for i in ids] == [200] * 4
            assert {made(own).split("-")[1] for _ in range(4)} == {"b"}


def list_mocks(fake: Registry, mocks: tuple[Mock, Mock], drained: str = "") -> None:
    fake.services = [
        registered(made.name, made.port, "m", drained=made.name == drained, is_healthy=made.name != drained)
        for made in mocks
    ]
    fake.index += 1
