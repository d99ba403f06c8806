"""Several registries on one Redis: each of them gives the same answers."""

import re
import select
import signal
import socket
import threading
import time
from contextlib import closing, suppress

import pytest
import requests

from svc.base.errors import SvcError, Unavailable
from svc.client.registry import RegistryClient
from tests.integration.commands import run
from tests.integration.registry.process import Registry, alive
from tests.integration.router.client import post
from tests.integration.router.instance import Instance
from tests.integration.router.routers import router
from tests.unit.registry.services import registration
from tests.waiting import wait_until


@pytest.fixture
def pair(tmp_path, own_redis):
    """Two registries on one Redis, as on two hosts."""
    registries = [Registry(tmp_path / name, "--store", own_redis.url) for name in ("one", "two")]
    for registry in registries:
        registry.place.mkdir()
        registry.launch()
    for registry in registries:
        wait_until(registry.answers, 20, "it answers")
    yield registries
    for registry in registries:
        registry.end()


def names(registry):
    return [s["name"] for s in registry.client.services()]


def listing(registry, index=None, wait=0):
    query = {} if index is None else {"index": index, "wait": wait}
    answer = requests.get(f"{registry.client.urls[0]}/services", params=query, timeout=wait + 5)
    answer.raise_for_status()
    return int(answer.headers["X-Registry-Index"]), answer.json()["services"]


def health(registry):
    return requests.get(f"{registry.client.urls[0]}/health", timeout=5)


def test_both_registries_have_every_change(pair):
    first, second = pair
    first.client.register(registration("a"))
    second.client.register(registration("b"))
    second.client.drain("a")
    first.client.heartbeat("b", "draining")
    assert listing(first) == listing(second)
    assert {s["name"]: (s["drained"], s["status"]) for s in listing(first)[1]} == {
        "a": (True, "running"),
        "b": (False, "draining"),
    }
    second.client.deregister("a")
    assert names(first) == names(second) == ["b"]


def test_a_command_uses_the_next_registry_and_reports_a_redis_that_is_away(pair, own_redis):
    first, second = pair
    first.client.register(registration("a"))
    both = ",".join(registry.client.urls[0] for registry in pair)
    first.end()
    assert run(second, "drain", "a", REGISTRY_URL=both)[0].startswith("a is drained")
    own_redis.end()
    _, err = run(second, "undrain", "a", status=1)
    assert err.startswith(f"svc: cannot undrain a: the registry at {second.client.urls[0]} answered 503: ")
    assert err.endswith("the registry cannot use its store: connection refused\n")
    assert "--registry-url" not in err


def test_an_instance_stays_healthy_while_one_registry_reaches_it(tmp_path, own_redis):
    """One of them may not connect to the instance, as if a firewall were between the two."""
    checks = ("--store", own_redis.url, "--health-interval", "0.2", "--health-timeout", "1")
    near, far = Registry(tmp_path, *checks), Registry(tmp_path, *checks, "--allowed-networks", "192.0.2.0/24")
    with closing(Instance()) as instance:
        url = f"http://127.0.0.1:{instance.port}"
        try:
            near.start()
            near.client.register(registration("a", url=url, lease_seconds=600))
            wait_until(lambda: near.client.get("a")["health_status"] == "healthy", description="it is reached")
            far.start()
            wait_until(lambda: failed_checks(far) >= 8, description="the other registry does not reach it")
            assert far.client.get("a")["is_healthy"]
            assert "unhealthy" not in {event["kind"] for event in near.client.events()[0]}
            near.end()
            wait_until(lambda: not far.client.get("a")["is_healthy"], 30, "no registry reaches it")
        finally:
            near.end()
            far.end()


def failed_checks(registry):
    text = requests.get(f"{registry.client.urls[0]}/metrics", timeout=5).text
    [line] = [line for line in text.splitlines() if re.match(r"\S*health_checks_total.*fail", line)]
    return float(line.split()[-1])


def test_heartbeats_that_wait_for_redis_delay_no_other_request(pair, own_redis):
    first, _ = pair
    first.client.register(registration())
    own_redis.send(signal.SIGSTOP)
    try:
        with socket.create_connection(("127.0.0.1", first.port), 10) as waiting:
            waiting.sendall(b"POST /services/qwen/heartbeat HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert requests.get(f"{first.client.urls[0]}/openapi.json", timeout=5).ok
            assert not select.select([waiting], [], [], 0)[0], "the heartbeat is not answered yet"
            assert waiting.recv(100).startswith(b"HTTP/1.1 503 ")
    finally:
        own_redis.send(signal.SIGCONT)


def test_a_change_at_one_wakes_the_watchers_of_both_within_100_ms(pair):
    first, second = pair
    first.client.register(registration())
    took, plain_requests = [], []
    for n in range(10):
        started = time.monotonic()
        index, _ = listing(second)
        plain_requests.append(time.monotonic() - started)
        answers = {}

        def watch(registry, index=index, answers=answers):
            after, services = listing(registry, index, 10)
            answers[registry.port] = (time.monotonic(), after, services[0]["weight"])

        watchers = [threading.Thread(target=watch, args=(registry,)) for registry in pair]
        for watcher in watchers:
            watcher.start()
        wait_until(lambda: all(has_watcher(registry) for registry in pair), interval=0.01)
        began = time.monotonic()
        first.client.update("qwen", {"weight": n + 2})
        for watcher in watchers:
            watcher.join(15)
        assert [answer[1:] for answer in answers.values()] == [(index + 1, n + 2)] * 2
        took.append(max(at for at, _, _ in answers.values()) - began)
    limit = max(0.1, 5 * sorted(plain_requests)[8])  # a busy machine delays plain requests too, one in ten even more
    assert sorted(took)[8] < limit, (took, plain_requests)


def has_watcher(registry):
    """Return whether a watcher is connected to the registry; each has its own connection."""
    worker = registry.worker()
    with open(f"/proc/{worker}/net/tcp") as table:
        local = f":{registry.port:04X}"
        return any(line.split()[1].endswith(local) and line.split()[3] == "01" for line in table)


def test_a_lease_ends_once_and_a_heartbeat_at_either_keeps_it(pair):
    first, second = pair
    first.client.register(registration("brief", lease_seconds=1))
    first.client.register(registration("kept", lease_seconds=3))
    index, _ = listing(first)

    def healthy():
        second.client.heartbeat("kept", "running")
        return {s["name"] for s in first.client.services() if s["is_healthy"]}

    wait_until(lambda: healthy() == {"kept"}, description="brief expires")
    wait_until(
        lambda: healthy() and time.time() > first.client.get("brief")["last_heartbeat"] + 5,
        description="both have swept",
    )
    assert listing(first)[0] == listing(second)[0] == index + 1
    logs = [registry.log.read_text() for registry in pair]
    assert sum(log.count("brief expired") for log in logs) == 1
    assert not any("kept expired" in log for log in logs)


def test_clients_continue_with_the_other_registry_after_a_kill(pair):
    first, second = pair
    instance = Instance()
    base_url = f"http://127.0.0.1:{instance.port}"
    about = {"type": "openai-api", "models": ["m"], "babysitter": base_url, "health_url": f"{base_url}/health"}
    urls = [registry.client.urls[0] for registry in pair]
    babysitter = RegistryClient(urls)
    babysitter.register(registration("m-server", host="127.0.0.1", port=instance.port, url=base_url, metadata=about))
    flags = ("--registry-url", ",".join(urls), "--registry-sync-interval", 0.2, "--health-interval", 0.5)
    try:
        with router(*flags) as own:
            wait_until(lambda: in_use(own), description="the router uses it")
            first.end(signal.SIGKILL)
            babysitter.heartbeat("m-server", "running")
            assert request_status(own) == 200
            babysitter.heartbeat("m-server", "draining")
            wait_until(lambda: not in_use(own), 5, "the router learns it from the other")
            babysitter.heartbeat("m-server", "running")
            wait_until(lambda: in_use(own), 5)
            assert request_status(own) == 200
    finally:
        instance.close()


def in_use(own):
    return [s["name"] for s in own.get("/services").json()["services"] if s["healthy"]]


def request_status(own):
    with own.client() as client:
        return client.send(post({"model": "m"})).answer().status


def test_registries_serve_reads_without_redis_and_recover(pair, own_redis):
    first, second = pair
    first.client.register(registration("a", lease_seconds=30))
    index, before = listing(second)
    listing(first)
    woken = {}
    watcher = threading.Thread(target=lambda: woken.update(at=wait_for_change(second, index)))
    own_redis.end(signal.SIGKILL)
    watcher.start()
    for registry in pair:
        wait_until(lambda registry=registry: health(registry).json()["status"] == "degraded", 5)
        assert health(registry).status_code == 200
        assert "the list is as of" in health(registry).json()["reason"]
        began = time.monotonic()
        for _ in range(5):
            with pytest.raises(Unavailable):
                registry.client.heartbeat("a", "running")
        assert time.monotonic() - began < 2, "no request waits for Redis"
        assert listing(registry) == (index, before)
    own_redis.start()
    wait_until(lambda: heartbeat_is_accepted(first, "a"), 5, "writes are accepted again")
    second.client.register(registration("b"))
    watcher.join(20)
    assert woken["at"] == index + 1
    assert names(first) == names(second) == ["a", "b"]
    for registry in pair:
        wait_until(lambda registry=registry: health(registry).json()["status"] == "healthy", 10)
        log = registry.log.read_text()
        assert "Traceback" not in log
        assert log.count("cannot use its store") < 10, "logged once, not for each request"


def wait_for_change(registry, index):
    """Watch as a router does, until the revision changes; return it."""
    return wait_until(lambda: (now := listing(registry, index, 5)[0]) != index and now, 30)


def heartbeat_is_accepted(registry, name):
    with suppress(SvcError):
        registry.client.heartbeat(name, "running")
        return True
    return False


@pytest.mark.long
def test_no_lease_ends_because_redis_was_gone_for_a_minute(pair, own_redis):
    """The registries could not accept heartbeats in that time."""
    first, second = pair
    for n in range(2):
        first.client.register(registration(f"s{n}", lease_seconds=30))
    index, _ = listing(first)
    own_redis.end(signal.SIGKILL)
    gone = time.monotonic()
    wait_until(lambda: not heartbeat_is_accepted(first, "s0") and time.monotonic() - gone > 60, 90, interval=1)
    own_redis.start()
    wait_until(lambda: heartbeat_is_accepted(first, "s0") and heartbeat_is_accepted(second, "s1"), 10)
    back = time.monotonic()
    wait_until(
        lambda: (
            heartbeat_is_accepted(first, "s0") and heartbeat_is_accepted(second, "s1") and time.monotonic() - back > 10
        ),
        30,
        interval=1,
    )
    for registry in pair:
        assert all(s["is_healthy"] for s in listing(registry)[1])
        assert listing(registry)[0] == index
        assert "expired" not in registry.log.read_text()
        assert health(registry).json()["status"] == "healthy"


def test_the_password_is_in_no_log_and_a_worker_is_replaced(tmp_path, server_with_password):
    redis, file = server_with_password
    registry = Registry(tmp_path, "--store", redis.url, "--store-password-file", str(file)).start()
    try:
        wait_until(lambda: registry.client.register(registration()))
        worker = registry.worker()
        registry.process.send_signal(signal.SIGHUP)
        wait_until(lambda: not alive(worker), 15)
        assert names(registry) == ["qwen"]
        assert registry.end(signal.SIGTERM) == 0
        assert "hush" not in registry.log.read_text()
        assert "Warning" not in registry.log.read_text(), "such as that of gevent, if it patches too late"
    finally:
        registry.end()


@pytest.fixture
def server_with_password(tmp_path):
    from tests.integration.redis_server import RedisServer

    file = tmp_path / "password"
    file.write_text("hush-hush\n")
    server = RedisServer(tmp_path / "redis", "--requirepass", "hush-hush").start()
    yield server, file
    server.end()
