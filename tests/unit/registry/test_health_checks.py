import threading

import pytest

from svc.registry.health_checks import Checks, each, judged, passes
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
        status, against = judged(status, against, answer == "+")
    assert status == ends


@pytest.mark.parametrize(
    ("kind", "well"),
    [("openai-api", [200]), ("babysitter", [200, 404, 503]), ("", [200])],
    ids=["instance", "babysitter", "other"],
)
def test_a_babysitter_that_says_its_instance_is_down_is_well_itself(kind, well):
    one = service(metadata={"type": kind})
    assert [answer for answer in (0, 200, 404, 503) if passes(one, answer)] == well


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
    return Checks(store, net, lambda ok: None)


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
    checks.round()
    assert net.asked == ["http://h:8101/health"]
    assert [s.health_status for s in store.snapshot()[1]] == ["unknown", "healthy", "healthy"]


def test_a_babysitter_is_well_while_its_instance_fails_at_the_same_url(store, net):
    observed = []
    checks = Checks(store, net, observed.append)
    put(
        store,
        service("qwen", url="http://h:8101", metadata={"type": "babysitter"}),
        service("qwen-server", url="http://h:8100", metadata={"type": "openai-api"}),
    )
    net.unwell.add("http://h:8101/health")
    for _ in range(3):
        checks.round()
    assert [s.health_status for s in store.snapshot()[1]] == ["healthy", "unhealthy"]
    assert (len(net.asked), observed) == (3, [False] * 3)
    put(store, service("qwen-server", url="http://h:8100", metadata={"type": "openai-api"}, status="stopped"))
    net.down.add("http://h:8101/health")
    for _ in range(3):
        checks.round()
    assert store.get("qwen").health_status == "unhealthy"


def test_the_revision_rises_only_with_a_change_of_the_verdict_and_the_lease_not_at_all(store, net, checks):
    put(store, service())
    checks.round()
    revision = store.snapshot()[0]
    checks.round()
    net.down.add("http://10.0.0.7:8100/health")
    checks.round()
    checks.round()
    assert store.snapshot()[0] == revision
    checks.round()
    assert store.snapshot()[0] == revision + 1
    assert (store.get("qwen").health_status, store.get("qwen").last_heartbeat) == ("unhealthy", NOW)


def test_a_new_registration_starts_the_count_again(store, net, checks):
    net.down.add("http://10.0.0.7:8100/health")
    put(store, service(health_status="healthy"))
    checks.round()
    checks.round()
    put(store, service(health_status="unknown"))
    checks.round()
    assert store.get("qwen").health_status == "unknown"
    checks.round()
    checks.round()
    assert store.get("qwen").health_status == "unhealthy"


def test_a_verdict_on_what_has_meanwhile_become_another_is_dropped(store, net, checks):
    put(store, service())

    def moved(url):
        put(store, service(url="http://10.0.0.8:8100"))
        return 200

    checks.probe = moved
    checks.round()
    assert store.get("qwen").health_status == "unknown"


def test_what_failed_before_is_asked_last(store, net, checks):
    put(store, service("a", url="http://a", health_status="unhealthy"), service("b", url="http://b"))
    asked = []
    checks.probe = lambda url: asked.append(url) or 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("svc.registry.health_checks.WIDTH", 1)
        checks.round()
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

    rounds = threading.Thread(target=each, args=(work, ["slow", "broken", *range(20)], 3))
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

    each(work, range(16), 4)
    assert most == 4
