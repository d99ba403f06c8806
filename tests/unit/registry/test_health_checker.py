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
    ("begins", "answers", "ends"),
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
def test_it_takes_three_failures_to_fail_and_two_successes_to_be_well_again(begins, answers, ends):
    status, against = begins, 0
    for answer in answers:
        status, against = next_health_status(status, against, answer == "+")
    assert status == ends


@pytest.mark.parametrize(
    ("kind", "well"),
    [("openai-api", [200]), ("babysitter", [200, 404, 503]), ("", [200])],
    ids=["instance", "babysitter", "other"],
)
def test_a_babysitter_that_says_its_instance_is_down_is_well_itself(kind, well):
    one = service(metadata={"type": kind})
    assert [answer for answer in (0, 200, 404, 503) if is_success(one, answer)] == well


class Net:
    """URLs that answer, answer that they are not well, or do not answer."""

    def __init__(self):
        self.down = set()
        self.unwell = set()
        self.asked = []

    def __call__(self, url):
        self.asked.append(url)
        return 0 if url in self.down else 503 if url in self.unwell else 200


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    yield store
    store.close()


@pytest.fixture
def net():
    return Net()


@pytest.fixture
def checks(store, net):
    return HealthChecker(store, net, lambda ok: None)


def put(store, *services):
    for one in services:
        store.change(one.name, lambda old, new=one: new)


def test_only_what_runs_is_asked_and_one_url_once(store, net, checks):
    put(
        store,
        service("qwen", url="http://h:8101"),
        service("qwen-server", url="http://h:8100", metadata={"type": "openai-api"}),
        service("other", status="stopped", url="http://h:9000"),
    )
    checks.run_round()
    assert net.asked == ["http://h:8101/health"]
    assert [s.health_status for s in store.snapshot()[1]] == ["unknown", "healthy", "healthy"]


def test_a_babysitter_is_well_while_its_instance_fails_at_the_same_url(store, net):
    observed = []
    checks = HealthChecker(store, net, observed.append)
    put(
        store,
        service("qwen", url="http://h:8101", metadata={"type": "babysitter"}),
        service("qwen-server", url="http://h:8100", metadata={"type": "openai-api"}),
    )
    net.unwell.add("http://h:8101/health")
    for _ in range(3):
        checks.run_round()
    assert [s.health_status for s in store.snapshot()[1]] == ["healthy", "unhealthy"]
    assert (len(net.asked), observed) == (3, [False] * 3)
    put(store, service("qwen-server", url="http://h:8100", metadata={"type": "openai-api"}, status="stopped"))
    net.down.add("http://h:8101/health")
    for _ in range(3):
        checks.run_round()
    assert store.get("qwen").health_status == "unhealthy"


def test_the_revision_rises_only_with_a_change_of_the_verdict_and_the_lease_not_at_all(store, net, checks):
    put(store, service())
    checks.run_round()
    revision = store.snapshot()[0]
    checks.run_round()
    net.down.add("http://10.0.0.7:8100/health")
    checks.run_round()
    checks.run_round()
    assert store.snapshot()[0] == revision
    checks.run_round()
    assert store.snapshot()[0] == revision + 1
    assert (store.get("qwen").health_status, store.get("qwen").last_heartbeat) == ("unhealthy", NOW)


def test_a_new_registration_starts_the_count_again(store, net, checks):
    net.down.add("http://10.0.0.7:8100/health")
    put(store, service(health_status="healthy"))
    checks.run_round()
    checks.run_round()
    put(store, service(health_status="unknown"))
    checks.run_round()
    assert store.get("qwen").health_status == "unknown"
    checks.run_round()
    checks.run_round()
    assert store.get("qwen").health_status == "unhealthy"


def test_a_verdict_on_what_has_meanwhile_become_another_is_dropped(store, net, checks):
    put(store, service())

    def moved(url):
        put(store, service(url="http://10.0.0.8:8100"))
        return 200

    checks.probe = moved
    checks.run_round()
    assert store.get("qwen").health_status == "unknown"


def test_what_failed_before_is_asked_last(store, net, checks):
    put(store, service("a", url="http://a", health_status="unhealthy"), service("b", url="http://b"))
    asked = []
    checks.probe = lambda url: asked.append(url) or 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("svc.registry.health_checker.MAX_CONCURRENT_CHECKS", 1)
        checks.run_round()
    assert asked == ["http://b/health", "http://a/health"]


def test_a_slow_host_holds_up_nobody_and_a_raising_check_neither():
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


def test_no_more_than_the_width_are_asked_at_a_time():
    barrier, most, now, lock = threading.Barrier(4), 0, 0, threading.Lock()

    def work(item):
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        barrier.wait(5)
        with lock:
            now -= 1

    for_each(work, range(16), 4)
    assert most == 4


def test_a_refused_address_counts_as_no_answer_and_is_logged_once(caplog):
    def refused(url):
        raise AddressRefused("it is this server itself")

    probe = HealthProbe(refused)
    assert [probe("http://a"), probe("http://a"), probe("http://b")] == [0, 0, 0]
    assert [r.getMessage() for r in caplog.records] == [
        f"http://{name} is not checked, which counts as a failed check: it is this server itself" for name in "ab"
    ]


class Slow:
    """A probe that waits for `go`, with the URLs that it was asked for."""

    def __init__(self):
        self.urls, self.began, self.go = [], threading.Semaphore(0), threading.Event()

    def __call__(self, url):
        self.urls.append(url)
        self.began.release()
        assert self.go.wait(10)
        return 200


def test_checks_of_one_url_at_the_same_time_are_one_check():
    slow, statuses, waiting = Slow(), [], threading.Semaphore(0)
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
    assert len(slow.urls) == 2, "a later one is a check of its own"


def test_a_caller_that_shares_a_check_waits_in_its_context():
    slow, entered = Slow(), threading.Semaphore(0)
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


def test_no_more_than_so_many_checks_by_request_are_under_way():
    slow = Slow()
    shared = SharedProbe(slow, limit=1)
    thread = threading.Thread(target=shared, args=("http://a",))
    thread.start()
    assert slow.began.acquire(timeout=10)
    with pytest.raises(RateLimited):
        shared("http://b")
    slow.go.set()
    thread.join(10)
    assert shared("http://b") == 200


def test_a_check_that_raises_lets_go_of_those_who_share_it():
    def fails(url):
        raise ZeroDivisionError

    shared = SharedProbe(fails)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            shared("http://a")
