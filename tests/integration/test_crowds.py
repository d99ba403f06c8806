"""Many slow or silent clients at each server delay no heartbeat, health check or request of another client."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests

from svc.client.registry import RegistryClient
from tests.integration.crowd import ClientKind, Crowd, kinds
from tests.integration.fakes import mock
from tests.integration.router.certificates import make_certificate
from tests.integration.router.instance import OK, Instance
from tests.integration.router.routers import service, static
from tests.processes import members
from tests.unit.registry.services import registration
from tests.waiting import free_port, free_port_pair, wait_until

LIMITED_COMMAND = ["sh", "-c", 'ulimit -n "$0" && exec "$@"']
SVC = [sys.executable, "-m", "svc"]
LARGE_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 9_000_000
LASTING_KINDS = kinds("/services", "/services/s1/heartbeat", 10)[1:5]  # a registry closes the others within seconds
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01"  # the first bytes of a handshake
MAX_DESCRIPTORS = 256
REQUEST_BODY = {"model": "a", "messages": [{"role": "user", "content": "x"}]}


@contextmanager
def server(place: Path, descriptors: int, *arguments: object) -> Iterator["subprocess.Popen[bytes]"]:
    """Run svc with a limit of descriptors, in a session of its own; its output is in `output`."""
    with (place / "output").open("ab") as output:
        process = subprocess.Popen(
            [*LIMITED_COMMAND, str(descriptors), *SVC, *map(str, arguments)],
            cwd=place,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
    log = (place / "output").read_text()
    assert "Traceback" not in log
    assert "Too many open files" not in log


def open_descriptors(process: "subprocess.Popen[bytes]") -> int:
    return max(len(os.listdir(f"/proc/{pid}/fd")) for pid in members(process.pid))


def memory_mb(process: "subprocess.Popen[bytes]") -> int:
    """Return the resident memory of the largest process of the group."""
    return max(
        int(line.split()[1]) >> 10
        for pid in members(process.pid)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )


def answers(url: str, ca: Path | None = None) -> bool:
    try:
        return requests.get(url, timeout=5, verify=str(ca) if ca else True).ok
    except requests.ConnectionError:
        return False


def assert_served(crowd: Crowd, count: int, ask: Callable[[], object], times: int = 5) -> None:
    """Assert that every request is answered once more than `count` connections have been opened."""
    wait_until(lambda: crowd.opened > count, 30, "the crowd is there")
    for _ in range(times):
        ask()


def get(url: str, ca: Path | None = None) -> None:
    assert requests.get(url, timeout=5, verify=str(ca) if ca else True).status_code == 200


def test_slow_clients_at_the_registry_delay_no_heartbeat(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with server(tmp_path, MAX_DESCRIPTORS, "registry", "--port", port) as process:
        wait_until(lambda: answers(f"{url}/health"), description="the registry answers")
        client = RegistryClient(url, timeout=5)
        for n in range(4):
            client.register(registration(f"s{n}", metadata={"padding": "x" * 60_000}))

        def ask() -> None:
            client.heartbeat("s0", "running")
            get(f"{url}/health")
            assert client.get("s0")["status"] == "running"

        with Crowd(port, 300, LASTING_KINDS) as crowd:
            assert_served(crowd, 310, ask)
            assert open_descriptors(process) <= MAX_DESCRIPTORS
        wait_until(lambda: open_descriptors(process) < MAX_DESCRIPTORS // 4, 15, "the connections are gone")


def test_polls_of_any_form_delay_no_request_at_the_registry(tmp_path):
    """Polls whose clients have left are closed."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with server(tmp_path, MAX_DESCRIPTORS, "registry", "--port", port) as process:
        wait_until(lambda: answers(f"{url}/health"), description="the registry answers")
        for line, accept in (("HEAD /services?index=0&%77ait=60", "*/*"), ("GET /events", "text/event-stream")):
            polls = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(110)]
            for poll in polls:
                with suppress(OSError):  # the server closed it for a newer one
                    poll.sendall(f"{line} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode())
            for _ in range(3):
                get(f"{url}/health")
            for poll in polls:
                poll.close()
            wait_until(lambda: open_descriptors(process) < MAX_DESCRIPTORS // 4, 15, f"the clients of {line} are gone")


def test_slow_clients_at_the_router_delay_no_request(tmp_path):
    port, instance = free_port(), Instance()
    instance.play(lambda peer, received: peer.send(LARGE_RESPONSE if b"large" in received.line else OK))
    path = static(tmp_path / "static.json", [service("a", instance.port, "a")])
    url = f"http://127.0.0.1:{port}"
    with server(tmp_path, MAX_DESCRIPTORS, "router", "--port", port, "--static-services", path) as process:
        wait_until(lambda: answers(f"{url}/readyz"), description="the router is ready")

        def ask() -> None:
            assert requests.post(f"{url}/v1/chat/completions", json=REQUEST_BODY, timeout=5).status_code == 200
            get(f"{url}/health")

        with Crowd(port, 300, kinds("/v1/large", "/v1/chat/completions")) as crowd:
            assert_served(crowd, 310, ask)
            assert open_descriptors(process) <= MAX_DESCRIPTORS
    instance.close()


def test_endless_tls_handshakes_delay_no_client(tmp_path):
    port, pair = free_port(), make_certificate(tmp_path, "router")
    path = static(tmp_path / "static.json", [])
    url = f"https://127.0.0.1:{port}/health"
    flags = ["--port", port, "--static-services", path, "--certfile", pair.cert, "--keyfile", pair.key]
    with server(tmp_path, MAX_DESCRIPTORS, "router", *flags) as process:
        wait_until(lambda: answers(url, pair.cert), description="the router answers")
        with Crowd(port, 300, [ClientKind(b""), ClientKind(TLS_HELLO)]) as crowd:
            assert_served(crowd, 310, lambda: get(url, pair.cert))
            assert open_descriptors(process) <= MAX_DESCRIPTORS


def test_slow_clients_at_a_babysitter_delay_no_health_check(tmp_path):
    port = free_port_pair()
    (tmp_path / "q.toml").write_text(
        f'name = "q"\nport = {port}\nregistry_url = "http://127.0.0.1:{free_port()}"\n'
        '[backend]\ntype = "mock"\nmodels = ["a"]\n'
    )
    url = f"http://127.0.0.1:{port + 1}"
    with mock("q", ["a"], port), server(tmp_path, MAX_DESCRIPTORS, "babysitter", "--config-file", "q.toml") as process:
        wait_until(lambda: answers(f"{url}/health"), description="the babysitter is healthy")
        with Crowd(port + 1, 300, kinds("/metrics", "/health", 8)) as crowd:
            assert_served(crowd, 310, lambda: get(f"{url}/health"))
            assert open_descriptors(process) <= MAX_DESCRIPTORS


@pytest.mark.long
@pytest.mark.timeout(300)
def test_two_thousand_slow_clients_at_each_server_for_two_minutes(tmp_path):
    """All clients have the same address. Print the descriptors and the memory of each server."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    places = [tmp_path / name for name in ("registry", "router", "babysitter")]
    for place in places:
        place.mkdir()
    registry, router, instance = free_port(), free_port(), free_port_pair()
    url = f"http://127.0.0.1:{registry}"
    (places[2] / "q.toml").write_text(
        f'name = "q"\nport = {instance}\nregistry_url = "{url}"\n[babysitter]\nheartbeat_interval = 2\n'
        '[backend]\ntype = "mock"\nmodels = ["a"]\n'
    )
    with ExitStack() as stack:
        stack.enter_context(mock("q", ["a"], instance))
        checked = ["--health-interval", 2]
        start = [
            (places[0], hard, "registry", "--port", registry, *checked),
            (places[1], hard, "router", "--port", router, "--registry-url", url, *checked),
            (places[2], 1024, "babysitter", "--config-file", "q.toml"),
        ]
        processes = [stack.enter_context(server(*arguments)) for arguments in start]
        client = RegistryClient(url, timeout=5)
        wait_until(lambda: answers(url + "/health") and "q-server" in healthy(client), 20, "the instance is healthy")
        wait_until(lambda: answers(f"http://127.0.0.1:{router}/v1/models/a"), 20, "the router has it")
        large = {"status": "stopped", "lease_seconds": 600, "metadata": {"padding": "x" * 60_000}}
        for n in range(10):  # so that lists are more than a connection buffers
            client.register(registration(f"s{n}", **large))
        crowds = [
            stack.enter_context(Crowd(port, 2000, crowd))
            for port, crowd in (
                (registry, kinds("/services", "/services/q/heartbeat")),
                (router, kinds("/services", "/v1/chat/completions")),
                (instance + 1, kinds("/metrics", "/health")),
            )
        ]
        wait_until(lambda: all(crowd.opened >= 2000 for crowd in crowds), 60, "the crowds are there")
        end, slowest = time.monotonic() + 120, 0.0
        while time.monotonic() < end:
            started = time.monotonic()
            get(f"http://127.0.0.1:{instance + 1}/health")
            slowest = max(slowest, time.monotonic() - started)
            assert healthy(client) == {"q", "q-server"}
            answer = requests.post(f"http://127.0.0.1:{router}/v1/chat/completions", json=REQUEST_BODY, timeout=10)
            assert answer.status_code == 200
            time.sleep(0.5)
        for place, process in zip(places, processes, strict=True):
            print(f"{place.name}: {open_descriptors(process)} descriptors, {memory_mb(process)} MB")
        print(f"slowest /health of the babysitter: {slowest:.3f} s")


def healthy(client: RegistryClient) -> set[str]:
    """Return the names of the services that are healthy in the registry."""
    return {service["name"] for service in client.services() if service["is_healthy"]}
