"""A router with several processes: one truth for limits, queue, health and statistics, and what kills cost."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.integration.router.client import Client
from tests.integration.router.instance import OK, Instance, Peer, ReceivedRequest
from tests.integration.router.routers import Router, router, service, static
from tests.integration.router.workers.processes import Gate, control_process, kill, post, relaying_processes
from tests.waiting import wait_until

WORKERS = 3


@pytest.fixture
def instance() -> Iterator[Instance]:
    made = Instance()
    yield made
    made.close()


def site(tmp_path: Path, instance: Instance, limit: int = 0) -> tuple[object, ...]:
    metadata = {"max_concurrency": limit} if limit else {}
    path = static(tmp_path / "static.json", [service("a", instance.port, "m", metadata=metadata)])
    return "--workers", WORKERS, "--static-services", path, "--health-interval", 600


def test_counts_of_all_processes_are_exact_at_rest(tmp_path, instance):
    with router(*site(tmp_path, instance)) as own:
        clients = [own.client() for _ in range(12)]
        for number in range(60):
            assert clients[number % 12].send(post(number)).answer().status == 200
        wait_until(lambda: own.get("/stats").json()["total_requests"] == 60, timeout=2)
        text = own.get("/metrics").text
        assert 'svc_router_requests_total{model="m",status="200"} 60.0' in text
        assert 'svc_router_request_duration_seconds_count{model="m"} 60.0' in text
        assert own.get("/stats").json()["in_flight"] == 0


def test_an_instance_gets_no_more_than_its_limit_and_the_queue_is_in_order(tmp_path, instance):
    gate = Gate()
    instance.play(gate)
    with router(*site(tmp_path, instance, limit=2)) as own:
        clients = [own.client() for _ in range(12)]
        for number, client in enumerate(clients):
            client.send(post(number))
            wait_until(lambda number=number: waiting(own) + min(number + 1, 2) == number + 1, description="a place")
        assert own.in_flight() == 2
        for count in range(3, 13):
            gate.let_through()
            wait_until(lambda count=count: len(gate.numbers) == count, description="the next request")
        gate.let_through(2)
        assert [client.answer().status for client in clients] == [200] * 12
        assert gate.numbers == list(range(12))
        assert gate.most == 2


def waiting(own: Router) -> int:
    stats = own.get("/stats").json()
    return int(stats["waiting"]) if stats["in_flight"] else 0


def test_a_killed_process_loses_its_own_requests_only(tmp_path, instance):
    gate = Gate()
    instance.play(gate)
    with router(*site(tmp_path, instance, limit=12)) as own:
        clients = [own.client().send(post(number)) for number in range(12)]
        wait_until(lambda: own.in_flight() == 12)
        victim = relaying_processes(own)[0]
        lost = connections_of(own, victim, clients)
        kill(own, victim)
        wait_until(lambda: own.in_flight() == 12 - len(lost), description="the counts without the killed process")
        gate.let_through(12)
        for client in clients:
            if client in lost:
                with pytest.raises((ConnectionError, AssertionError)):
                    client.answer()
            else:
                assert client.answer().status == 200
        gate.let_through(12)
        for number in range(12):
            with own.client() as client:
                assert client.send(post(number)).answer().status == 200
        wait_until(lambda: own.in_flight() == 0)


def connections_of(own: Router, pid: int, clients: list[Client]) -> list[Client]:
    """Return the clients whose connections a process has: those of its sockets, found by their inodes."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # a descriptor that was closed meanwhile
            inodes.add(os.readlink(entry).removeprefix("socket:[").removesuffix("]"))
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ports = {int(line[2].partition(":")[2], 16) for line in lines if line[9] in inodes}
    return [client for client in clients if client.sock.getsockname()[1] in ports]


def test_requests_pass_while_the_control_process_is_replaced(tmp_path, instance):
    with router(*site(tmp_path, instance)) as own, own.client() as client:
        assert client.send(post()).answer().status == 200
        control = control_process(own)
        os.kill(control, signal.SIGSTOP)
        for number in range(20):
            with own.client() as fresh:
                assert fresh.send(post(number)).answer().status == 200
        kill(own, control)
        wait_until(own.ready)
        assert client.send(post()).answer().status == 200
        before = own.get("/stats").json()["total_requests"]
        assert client.send(post()).answer().status == 200
        wait_until(lambda: own.get("/stats").json()["total_requests"] == before + 1)


def test_an_instance_that_fails_at_one_process_is_ejected_for_all(tmp_path, instance):
    healthy = Instance()
    path = static(tmp_path / "static.json", [service("a", instance.port, "m"), service("b", healthy.port, "m")])
    instance.play(lambda peer, received: False)
    flags = ("--workers", WORKERS, "--static-services", path, "--health-interval", 600, "--policy", "round_robin")
    with router(*flags) as own:
        clients = [own.client() for _ in range(9)]
        deadline = time.monotonic() + 20
        while not own.service("a")["ejected"]:
            assert time.monotonic() < deadline
            for client in clients:
                assert client.send(post()).answer().status == 200
        time_of_snapshot = 0.05
        threading.Event().wait(time_of_snapshot)
        seen = own.service("a")["request_count"]
        for client in clients:
            assert client.send(post()).answer().status == 200
        threading.Event().wait(0.3)
        assert own.service("a")["request_count"] == seen
    healthy.close()


@pytest.mark.parametrize("signal_number", [signal.SIGHUP])
def test_no_request_fails_while_all_processes_are_replaced(tmp_path, instance, signal_number):
    with router(*site(tmp_path, instance)) as own:
        before = set(relaying_processes(own))
        stop, failures = threading.Event(), list[object]()

        def send() -> None:
            session = requests.Session()
            while not stop.is_set():
                try:
                    answer = session.post(f"{own.url}/v1/chat/completions", json={"model": "m"}, timeout=20)
                    if answer.status_code != 200:
                        failures.append(answer.text)
                except requests.RequestException as error:
                    failures.append(error)

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        own.process.send_signal(signal_number)
        wait_until(lambda: len(set(relaying_processes(own)) - before) == WORKERS, timeout=20)
        wait_until(lambda: not before & set(relaying_processes(own)), timeout=20)
        stop.set()
        for thread in threads:
            thread.join(20)
        assert failures == []
        own.assert_no_exception()


def test_the_router_stops_and_leaves_no_process(tmp_path, instance):
    with router(*site(tmp_path, instance)) as own:
        pids = [control_process(own), *relaying_processes(own)]
        own.process.send_signal(signal.SIGTERM)
        assert own.process.wait(15) == 0
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        own.assert_no_exception()


def test_a_conversation_stays_at_its_instance_in_every_process(tmp_path):
    """It is not at the instance of its first block, which was full at its first turn: only the shared map finds it."""
    released, instances = threading.Event(), {"one": Instance(), "other": Instance()}

    def hold(peer: Peer, received: ReceivedRequest) -> None:
        assert b"blocker" not in received.body or released.wait(20)
        peer.send(OK)

    for instance in instances.values():
        instance.play(hold)
    limit = {"max_concurrency": 1}
    services = [service(name, each.port, "m", metadata=limit) for name, each in instances.items()]
    path = static(tmp_path / "static.json", services)
    with router("--workers", WORKERS, "--policy", "prefix", "--static-services", path) as own:
        for number in range(4):
            released.clear()
            beginning = f"system {number} " * 500
            blocker = threading.Thread(target=send_chat, args=(own, [beginning, "blocker"]))
            blocker.start()
            wait_until(lambda: own.in_flight() == 1, description="the blocker")
            own_instance = send_chat(own, [beginning, "turn 1 " * 300])
            released.set()
            blocker.join()
            for turns in range(2, 9):
                wait_until(lambda: own.in_flight() == 0, description="the end of the turn before")
                texts = [beginning, *(f"turn {turn} " * 300 for turn in range(1, turns))]
                assert send_chat(own, texts) == own_instance
    for instance in instances.values():
        instance.close()


def send_chat(own: Router, texts: list[str]) -> str:
    """Send a request over a connection of its own; return the name of its instance."""
    body = {"model": "m", "messages": [{"role": "user", "content": text} for text in texts]}
    headers = {"X-Served-By": "?", "Connection": "close"}
    answer = requests.post(f"{own.url}/v1/chat/completions", json=body, headers=headers, timeout=30)
    assert answer.status_code == 200
    return answer.headers["X-Served-By"]
