"""The Redis store: failures of Redis, several stores on one Redis, and its options."""

import re
import shutil
import signal
import subprocess
import threading
import time

import pytest
from msgspec.structs import replace

from svc.base.errors import Unavailable
from svc.protocol.gpu_report import GpuReport
from svc.registry.heartbeats import renew_lease
from svc.registry.leases import owner
from svc.registry.store import redis_address, redis_connection
from svc.registry.store.redis import RedisStore
from svc.registry.store.redis_connection import CHECK_INTERVAL_SECONDS
from tests.integration.redis_server import RedisServer
from tests.unit.registry.services import NOW, service
from tests.waiting import wait_until


@pytest.fixture
def open_store():
    """A function that opens a store on a server; all are closed in the end."""
    opened = []

    def open_on(server, password_file="", **options):
        query = "&".join(f"{key}={value}" for key, value in options.items())
        opened.append(RedisStore(redis_address.parse(f"{server.url}?{query}", password_file)))
        return opened[-1]

    yield open_on
    for store in opened:
        store.close()


@pytest.fixture
def server(tmp_path):
    """A function that starts a Redis with flags; all end with the test."""
    started = []

    def start(*flags, **options):
        started.append(RedisServer(tmp_path / f"redis{len(started)}", *flags, **options))
        return started[-1].start()

    yield start
    for running in started:
        running.end()


def put(store, new):
    return store.change(new.name, lambda old: new)


def works(store):
    try:
        store.check()
    except Unavailable:
        return False
    return True


def refusal(store) -> tuple[str, float]:
    """Return the error message of a write, and the seconds that it took."""
    began = time.monotonic()
    with pytest.raises(Unavailable) as failure:
        put(store, service("new"))
    return failure.value.message, time.monotonic() - began


def test_a_redis_that_is_killed_and_started_again_loses_nothing(own_redis, open_store):
    store = open_store(own_redis)
    put(store, service())
    store.drain("qwen", True)
    renew_lease(store, "qwen", NOW + 5, None)
    before = store.snapshot()
    own_redis.end(signal.SIGKILL)
    wait_until(store.degradation, 2, "the listener notices")
    assert store.snapshot() == before
    assert store.get("qwen") == before[1][0]
    assert store.get("other") is None
    message, took = refusal(store)
    assert message.startswith(f"redis://127.0.0.1:{own_redis.port}/0: the registry cannot use its store: ")
    assert took < 0.1
    wait_until(lambda: re.search(r"its store: connection refused; the list is as of \d s ago$", store.degradation()))
    own_redis.start()
    wait_until(lambda: works(store), 5, "it works again by itself")
    assert store.degradation() == ""
    assert store.snapshot() == before
    assert put(store, service("after")).name == "after"


def test_a_redis_that_hangs_does_not_delay_requests_for_long(own_redis, open_store):
    store = open_store(own_redis)
    put(store, service())
    before = store.snapshot()
    own_redis.send(signal.SIGSTOP)
    wait_until(store.degradation, 5, "the listener gets no answer")
    began = time.monotonic()
    for _ in range(100):
        refusal(store)
        assert store.snapshot() == before
    assert time.monotonic() - began < 1, "no request waits for a Redis that is known not to answer"
    own_redis.send(signal.SIGCONT)
    wait_until(lambda: works(store), 5)
    assert store.snapshot() == before


def test_a_pause_or_closed_connections_fail_no_write(own_redis, open_store, monkeypatch):
    timeout = 2.5  # the second attempt has as long, also on a machine so busy that Redis continues late
    monkeypatch.setattr(redis_connection, "REDIS_TIMEOUT_SECONDS", timeout)
    store = open_store(own_redis)
    put(store, service())
    own_redis.cli("client", "kill", "type", "normal")
    assert store.change("qwen", lambda old: replace(old, weight=7)).weight == 7
    own_redis.send(signal.SIGSTOP)
    threading.Timer(timeout + 0.2, own_redis.send, [signal.SIGCONT]).start()
    assert store.change("qwen", lambda old: replace(old, weight=8)).weight == 8
    assert store.snapshot() == (3, [service(weight=8)])
    assert store.degradation() == ""


def test_a_closed_subscription_is_no_failure(own_redis, open_store, caplog):
    store, other = open_store(own_redis), open_store(own_redis)
    put(store, service())
    wait_until(lambda: len(own_redis.subscribers()) == 2)
    closed = own_redis.subscribers()
    own_redis.cli("client", "kill", "type", "pubsub")
    wait_until(lambda: len(own_redis.subscribers() - closed) == 2)
    put(other, service("new"))
    wait_until(lambda: store.wait(1, 0) == 2, description="the new subscription reports changes")
    assert not caplog.messages


def test_waits_outlast_a_failure_and_end_with_a_change_after_it(own_redis, open_store):
    store, other = open_store(own_redis), open_store(own_redis)
    put(store, service())
    index = store.snapshot()[0]
    wait_until(lambda: store.wait(-1, 0) == index)
    own_redis.end(signal.SIGKILL)
    wait_until(store.degradation)
    began = time.monotonic()
    assert store.wait(index, 0.3) == index
    assert time.monotonic() - began > 0.25, "the wait does not end early"
    woken = threading.Event()
    watcher = threading.Thread(target=lambda: (wait_until(lambda: store.wait(index, 20) != index, 20), woken.set()))
    watcher.start()
    own_redis.start()
    wait_until(lambda: works(other), 5)
    put(other, service("new"))
    watcher.join(10)
    assert woken.is_set()
    assert [s.name for s in store.snapshot()[1]] == ["new", "qwen"]


def test_a_revision_without_its_list_ends_waits_only_after_recovery(own_redis, open_store):
    store, other = open_store(own_redis), open_store(own_redis)
    put(store, service())
    assert store.snapshot()[0] == 1
    put(other, service("new"))
    wait_until(lambda: store.wait(1, 0) == 2)
    own_redis.end(signal.SIGKILL)
    wait_until(store.degradation)
    assert store.wait(1, 0.3) == 1, "the list is still that of revision 1"
    revisions = []
    watcher = threading.Thread(target=lambda: revisions.append(store.wait(1, 20)))
    watcher.start()
    own_redis.start()
    watcher.join(5)
    assert revisions == [2]
    assert store.snapshot()[0] == 2


CHANGES = {
    "heartbeat": lambda other: renew_lease(other, "qwen", NOW + 5, None),
    "change": lambda other: other.change("qwen", lambda old: replace(old, status="draining")),
    "drain": lambda other: other.drain("qwen", True),
    "remove": lambda other: other.remove("qwen"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_repeated_if_the_service_has_changed_meanwhile(shared_redis, open_store, tmp_path, name):
    store, other = (open_store(shared_redis, prefix=tmp_path.name) for _ in range(2))
    put(store, service())
    calls = []

    def change(old):
        if not calls:
            CHANGES[name](other)
        calls.append(old)
        return replace(old or service(), weight=9)

    changed = store.change("qwen", change)
    assert len(calls) == 2
    assert calls[1] != calls[0]
    assert changed == store.get("qwen") == replace(calls[1] or service(), weight=9)


@pytest.mark.parametrize("name", ["heartbeat", "remove"])
def test_a_removal_is_repeated_if_the_service_has_changed_meanwhile(shared_redis, open_store, tmp_path, name):
    store, other = (open_store(shared_redis, prefix=tmp_path.name) for _ in range(2))
    put(store, service())
    calls = []

    def silent(old):
        if not calls:
            CHANGES[name](other)
        calls.append(old)
        return old.last_heartbeat == NOW

    assert not store.remove("qwen", silent)
    assert (store.get("qwen") is None) == (name == "remove")


def test_a_change_wakes_the_waits_of_another_store(shared_redis, open_store, tmp_path):
    writer, watcher = open_store(shared_redis, prefix=tmp_path.name), open_store(shared_redis, prefix=tmp_path.name)
    took, plain_calls = [], []
    for n in range(20):
        index = put(writer, service()) and writer.snapshot()[0]
        wait_until(lambda index=index: watcher.wait(-1, 0) == index, interval=0.001)
        done = threading.Event()
        waiter = threading.Thread(target=lambda index=index, done=done: (watcher.wait(index, 5), done.set()))
        waiter.start()
        began = time.monotonic()
        writer.change("qwen", lambda old, n=n: service(weight=n + 2))
        assert done.wait(5)
        took.append(time.monotonic() - began)
        began = time.monotonic()
        watcher.check()
        plain_calls.append(time.monotonic() - began)
    limit = max(0.1, 20 * sorted(plain_calls)[10])  # a busy machine delays plain calls too
    assert sorted(took)[18] < limit, (took, plain_calls)


def test_a_redis_that_starts_late_is_used(tmp_path, open_store):
    late = RedisServer(tmp_path / "redis")
    store = open_store(late)
    with pytest.raises(Unavailable, match="cannot use its store"):
        store.snapshot()
    assert store.degradation() == "", "there is no older list"
    late.start()
    try:
        wait_until(lambda: works(store), 5)
        assert store.snapshot() == (0, [])
    finally:
        late.end()


def test_a_full_memory_refuses_writes_until_there_is_room(own_redis, open_store):
    store = open_store(own_redis)
    put(store, service())
    before = store.snapshot()
    own_redis.cli("config", "set", "maxmemory", "1")
    assert "maxmemory" in refusal(store)[0]
    assert store.snapshot() == before
    ends = time.monotonic() + 3 * CHECK_INTERVAL_SECONDS
    wait_until(lambda: not store.degradation() or time.monotonic() > ends)
    assert "maxmemory" in store.degradation(), "working reads are not enough"
    own_redis.cli("config", "set", "maxmemory", "0")
    wait_until(lambda: works(store), 5)
    assert put(store, service("after")).name == "after"


def test_lost_data_is_noticed_by_the_revision(own_redis, open_store, caplog):
    store = open_store(own_redis)
    for n in range(5):
        put(store, service(f"s{n}"))
    assert store.snapshot()[0] == 5
    own_redis.cli("flushall")
    assert store.snapshot() == (0, [])
    wait_until(lambda: store.wait(5, 0) == 0, 5, "watchers learn of it")
    assert "it went from revision 5 back to 0" in caplog.text
    assert not renew_lease(store, "s0", NOW, None), "the sender of the heartbeat has to register again"
    put(store, service())
    assert store.snapshot()[0] == 1


def test_prefixes_separate_sites(shared_redis, open_store, tmp_path):
    first = open_store(shared_redis, prefix=f"{tmp_path.name}-a")
    second = open_store(shared_redis, prefix=f"{tmp_path.name}-b")
    put(first, service())
    assert second.snapshot() == (0, [])
    assert first.snapshot() == (1, [service()])


def test_a_lease_that_many_registries_end_ends_once(shared_redis, open_store, tmp_path):
    stores = [open_store(shared_redis, prefix=tmp_path.name) for _ in range(4)]
    put(stores[0], service())
    start = threading.Barrier(4)
    marked = []

    def mark(store):
        def expired(old):
            marks.append(not old.expired)
            return service(expired=True) if not old.expired else None

        marks = []
        start.wait()
        store.change("qwen", expired)
        marked.append(marks[-1])

    threads = [threading.Thread(target=mark, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(marked) == [False, False, False, True]
    assert stores[0].snapshot()[0] == 2


def test_the_password_is_read_from_a_file_and_may_change(server, open_store, tmp_path, caplog):
    redis = server("--requirepass", "first")
    file = tmp_path / "password"
    file.write_text("wrong")
    store = open_store(redis, str(file))
    with pytest.raises(Unavailable, match="WRONGPASS|invalid"):
        put(store, service())
    file.write_text("first\n")
    wait_until(lambda: works(store), 5)
    put(store, service())
    assert "first" not in caplog.text
    assert "wrong" not in caplog.text


def test_a_missing_password_is_reported(server, open_store):
    store = open_store(server("--requirepass", "secret"))
    with pytest.raises(Unavailable, match="(?i)auth"):
        put(store, service())


def test_a_unix_socket_and_database_numbers_work(server, open_store, tmp_path):
    redis = server("--unixsocket", str(tmp_path / "redis.sock"))
    redis.url = f"unix://{tmp_path}/redis.sock"
    store = open_store(redis, db=3)
    put(store, service())
    assert open_store(redis, db=3).snapshot() == (1, [service()])
    assert open_store(redis, db=4).snapshot() == (0, [])


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate; apt install openssl")
def test_tls_trusts_only_the_given_certificate(server, open_store, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=redis",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            key,
            "-out",
            cert,
        ],
        check=True,
        capture_output=True,
    )
    redis = server(scheme="rediss", cert=cert, key=key)
    store = open_store(redis, ca=cert)
    put(store, service())
    assert store.snapshot() == (1, [service()])
    with pytest.raises(Unavailable, match="(?i)certificate"):
        put(open_store(redis), service())


def test_a_configuration_that_may_lose_data_is_logged_once(server, open_store, caplog):
    redis = server("--appendonly", "no", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    store = open_store(redis)
    wait_until(lambda: "noeviction" in caplog.text)
    assert caplog.text.count("appendonly is off") == 1
    redis.end()
    wait_until(lambda: not works(store))
    redis.start()
    wait_until(lambda: works(store), 5)
    put(store, service())
    assert caplog.text.count("appendonly is off") == 1


def test_all_stores_use_the_clock_of_redis(own_redis, open_store, monkeypatch):
    stores = [open_store(own_redis), open_store(own_redis)]
    for store in stores:
        wait_until(lambda store=store: works(store))
    monkeypatch.setattr(time, "time", lambda: NOW)  # the clock of this host is wrong
    wait_until(lambda: all(store._connection._clock_offset for store in stores))
    first, second = (store.now() for store in stores)
    assert abs(first - second) < 0.1
    assert first > NOW + 1000


def test_a_late_snapshot_does_not_replace_a_newer_one(own_redis, open_store, monkeypatch):
    """A snapshot that began first and ended last is not the one that is used while Redis does not answer."""
    store = open_store(own_redis)
    put(store, service("a"))
    read_snapshot = store._read_snapshot

    def overtaken(last):
        snapshot = read_snapshot(last)
        monkeypatch.setattr(store, "_read_snapshot", read_snapshot)
        put(store, service("b"))
        assert [s.name for s in store.snapshot()[1]] == ["a", "b"]
        return snapshot

    monkeypatch.setattr(store, "_read_snapshot", overtaken)
    before, _ = store.snapshot()
    own_redis.end()
    wait_until(lambda: not works(store), description="the failure to be noticed")
    revision, services = store.snapshot()
    assert revision > before
    assert [s.name for s in services] == ["a", "b"]


def test_a_further_host_has_no_room_for_its_gpus_until_a_report_is_too_old(server, open_store, monkeypatch):
    monkeypatch.setattr("svc.registry.store.redis.MAX_HOSTS", 2)
    store = open_store(server())
    report = GpuReport(hostname="gpu7", tool="nvidia-smi")
    for name in ("a", "b", "c"):
        store.change(name, lambda old, name=name: service(name))

    def put(name: str, now: float) -> bool:
        return store.put_gpus(name, report, owner.OPERATOR, now)

    assert [put("a", NOW), put("b", NOW + 10), put("c", NOW + 11)] == [True, True, False]
    assert put("a", NOW + 12), "its own report is replaced"
    assert put("c", NOW + 1811), "after the longest time for which a report may count"
    assert [host.service for host in store.gpus(NOW + 1811)] == ["c"]
