"""Health checks: of every running service in rounds, and of one service when a request asks for it."""

import threading
from contextlib import contextmanager

import pytest

from svc.base.dial import AddressRefused
from svc.base.errors import RateLimited
from svc.registry.health_checker import (
    HealthChecker,
    HealthProbe,
    SharedProbe,
    for_each,
    is_success,
    next_health_status,
)
from svc.registry.store.sqlite import SqliteStore
from tests.unit.registry.services import NOW, service


@pytest.mark.parametrize(
    ("status", "results", "expected"),
    [
        ("unknown", "+", "healthy"),
        ("unknown", "--", "unknown"),
        ("unknown", "---", "unhealthy"),
        ("unknown", "--+", "healthy"),
        ("healthy", "--", "healthy"),
        ("healthy", "--+--", "healthy"),
        ("healthy", "---", "unhealthy"),
        ("unhealthy", "+", "unhealthy"),
        ("unhealthy", "+-+", "unhealthy"),
        ("unhealthy", "++", "healthy"),
    ],
)
def test_three_failures_make_unhealthy_and_two_successes_healthy(status, results, expected):
    contradictions = 0
    for result in results:
        status, contradictions = next_health_status(status, contradictions, result == "+")
    assert status == expected


@pytest.mark.parametrize(
    ("kind", "successes"),
    [("openai-api", [200]), ("babysitter", [200, 404, 503]), ("", [200])],
    ids=["instance", "babysitter", "other"],
)
def test_any_answer_of_a_babysitter_is_a_success(kind, successes):
    checked = service(metadata={"type": kind})
    assert [code for code in (0, 200, 404, 503) if is_success(checked, code)] == successes


class ScriptedProbe:
    """A probe: URLs in `down` do not answer, those in `failing` answer 503, all others 200."""

    def __init__(self):
        self.down = set()
        self.failing = set()
        self.urls = []

    def __call__(self, url):
        self.urls.append(url)
        return 0 if url in self.down else 503 if url in self.failing else 200


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    yield store
    store.close()


@pytest.fixture
def probe():
    return ScriptedProbe()


@pytest.fixture
def checks(store, probe):
    return HealthChecker(store, probe, lambda ok: None)


def put(store, *services):
    for added in services:
        store.change(added.name, lambda old, new=added: new)


def test_only_running_services_are_checked_and_each_url_once(store, probe, checks):
    put(
        store,
        service("qwen", url="http://h:8101"),
        service("qwen-server", url="http://h:8100", metadata={"type": "openai-api"}),
        service("other", status="stopped", url="http://h:9000"),
    )
    checks.run_round()
    assert probe.urls == ["http://h:8101/health"]
    assert [s.health_status for s in store.snapshot()[1]] == ["unknown", "healthy", "healthy"]


def test_a_babysitter_is_healthy_while_its_instance_is_not(store, probe):
    observed = []
    checks = HealthChecker(store, probe, observed.append)
    put(
        store,
        service("qwen", url="http://h:8101", metadata={"type": "babysitter"}),
        service("qwen-server", url="http://h:8100", metadata={"type": "openai-api"}),
    )
    probe.failing.add("http://h:8101/health")
    for _ in range(3):
        checks.run_round()
    assert [s.health_status for s in store.snapshot()[1]] == ["healthy", "unhealthy"]
    assert (len(probe.urls), observed) == (3, [False] * 3)
    put(store, service("qwen-server", url="http://h:8100", metadata={"type": "openai-api"}, status="stopped"))
    probe.down.add("http://h:8101/health")
    for _ in range(3):
        checks.run_round()
    assert store.get("qwen").health_status == "unhealthy"


def test_only_a_new_health_status_raises_the_revision(store, probe, checks):
    put(store, service())
    checks.run_round()
    revision = store.snapshot()[0]
    checks.run_round()
    probe.down.add("http://10.0.0.7:8100/health")
    checks.run_round()
    checks.run_round()
    assert store.snapshot()[0] == revision
    checks.run_round()
    assert store.snapshot()[0] == revision + 1
    assert (store.get("qwen").health_status, store.get("qwen").last_heartbeat) == ("unhealthy", NOW)


def test_a_new_registration_starts_the_count_again(store, probe, checks):
    probe.down.add("http://10.0.0.7:8100/health")
    put(store, service(health_status="healthy"))
    checks.run_round()
    checks.run_round()
    put(store, service(health_status="unknown"))
    checks.run_round()
    assert store.get("qwen").health_status == "unknown"
    checks.run_round()
    checks.run_round()
    assert store.get("qwen").health_status == "unhealthy"


class SharedStore(SqliteStore):
    """A store of two registries; `others` are the names that the other one reaches."""

    others = frozenset()
    reached: tuple[list[str], float] = ([], 0)

    def share_reached(self, names, seconds):
        self.reached = (sorted(names), seconds)

    def reached_by_others(self):
        return self.others


@pytest.fixture
def shared_store(tmp_path):
    store = SharedStore(tmp_path / "shared.db")
    yield store
    store.close()


def test_a_service_that_another_registry_reaches_stays_healthy(shared_store, probe):
    checks = HealthChecker(shared_store, probe, lambda ok: None)
    put(shared_store, service(health_status="healthy"))
    probe.down.add("http://10.0.0.7:8100/health")
    shared_store.others = frozenset({"qwen"})
    for _ in range(7):
        checks.run_round()
    assert shared_store.get("qwen").health_status == "healthy"
    shared_store.others = frozenset()
    checks.run_round()
    assert shared_store.get("qwen").health_status == "unhealthy", "the first check after the other one has lost it"


def test_a_registry_shares_what_it_reaches_until_three_checks_have_failed(shared_store, probe):
    checks = HealthChecker(shared_store, probe, lambda ok: None, interval=10, clock=iter(range(100)).__next__)
    put(shared_store, service("a"), service("b", url="http://10.0.0.8:8100"))
    probe.down.add("http://10.0.0.8:8100/health")
    checks.run_round()
    assert shared_store.reached == (["a"], 33), "three rounds, each of them 10 s after one that took 1 s"
    probe.down.add("http://10.0.0.7:8100/health")
    shared = []
    for _ in range(3):
        checks.run_round()
        shared.append(shared_store.reached[0])
    assert shared == [["a"], ["a"], []]


def test_a_result_for_a_service_that_has_moved_is_dropped(store, probe, checks):
    put(store, service())

    def moved(url):
        put(store, service(url="http://10.0.0.8:8100"))
        return 200

    checks.probe = moved
    checks.run_round()
    assert store.get("qwen").health_status == "unknown"


def test_unhealthy_services_are_checked_last(store, probe, checks):
    put(store, service("a", url="http://a", health_status="unhealthy"), service("b", url="http://b"))
    urls = []
    checks.probe = lambda url: urls.append(url) or 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("svc.registry.health_checker.MAX_CONCURRENT_CHECKS", 1)
        checks.run_round()
    assert urls == ["http://b/health", "http://a/health"]


def test_a_slow_or_failing_check_does_not_delay_the_others():
    release, others = threading.Event(), threading.Semaphore(0)

    def work(item):
        if item == "slow":
            release.wait(10)
        elif item == "broken":
            raise RuntimeError("broken")
        else:
            others.release()

    rounds = threading.Thread(target=for_each, args=(work, ["slow", "broken", *range(20)], 3))
    rounds.start()
    done = [others.acquire(timeout=5) for _ in range(20)]
    release.set()
    rounds.join(5)
    assert all(done)
    assert not rounds.is_alive()


def test_at_most_width_checks_run_at_a_time():
    barrier, maximum, running, lock = threading.Barrier(4), 0, 0, threading.Lock()

    def work(item):
        nonlocal maximum, running
        with lock:
            running += 1
            maximum = max(maximum, running)
        barrier.wait(5)
        with lock:
            running -= 1

    for_each(work, range(16), 4)
    assert maximum == 4


def test_a_refused_address_counts_as_no_answer_and_is_logged_once(caplog):
    def refused(url):
        raise AddressRefused("it is this server itself")

    probe = HealthProbe(refused)
    assert [probe("http://a"), probe("http://a"), probe("http://b")] == [0, 0, 0]
    assert [r.getMessage() for r in caplog.records] == [
        f"http://{name} is not checked, which counts as a failed check: it is this server itself" for name in "ab"
    ]


class SlowProbe:
    """A probe that waits for `go`, and records its URLs."""

    def __init__(self):
        self.urls, self.began, self.go = [], threading.Semaphore(0), threading.Event()

    def __call__(self, url):
        self.urls.append(url)
        self.began.release()
        assert self.go.wait(10)
        return 200


def test_concurrent_checks_of_one_url_are_one_check():
    slow, statuses, waiting = SlowProbe(), [], threading.Semaphore(0)
    shared = SharedProbe(slow)
    threads = [threading.Thread(target=lambda: statuses.append(shared("http://a"))) for _ in range(5)]
    threads[0].start()
    assert slow.began.acquire(timeout=10)
    done = shared._checks["http://a"].done
    wait = done.wait
    done.wait = lambda: waiting.release() or wait(10)
    for thread in threads[1:]:
        thread.start()
    assert all(waiting.acquire(timeout=10) for _ in threads[1:])
    slow.go.set()
    for thread in threads:
        thread.join(10)
    assert (statuses, slow.urls) == ([200] * 5, ["http://a"])
    assert shared("http://a") == 200
    assert len(slow.urls) == 2, "a later call is a check of its own"


def test_a_caller_waits_for_a_shared_check_in_its_context():
    slow, entered = SlowProbe(), threading.Semaphore(0)
    shared = SharedProbe(slow)

    @contextmanager
    def waiting():
        entered.release()
        yield

    first = threading.Thread(target=shared, args=("http://a", pytest.fail))
    first.start()
    assert slow.began.acquire(timeout=10)
    second = threading.Thread(target=shared, args=("http://a", waiting))
    second.start()
    assert entered.acquire(timeout=10)
    slow.go.set()
    for thread in (first, second):
        thread.join(10)


def test_checks_by_request_are_limited():
    slow = SlowProbe()
    shared = SharedProbe(slow, limit=1)
    thread = threading.Thread(target=shared, args=("http://a",))
    thread.start()
    assert slow.began.acquire(timeout=10)
    with pytest.raises(RateLimited):
        shared("http://b")
    slow.go.set()
    thread.join(10)
    assert shared("http://b") == 200


def test_a_check_that_raises_is_not_kept():
    def fails(url):
        raise ZeroDivisionError

    shared = SharedProbe(fails)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            shared("http://a")
