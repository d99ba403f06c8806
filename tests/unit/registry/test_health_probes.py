"""Health checks by request: shared, bounded, and sent to no refused address."""

import threading
from contextlib import contextmanager

import pytest

from svc.base.dial import AddressRefused
from svc.base.errors import RateLimited
from svc.registry.health_probes import Probe, SharedProbe


def test_a_refused_address_counts_as_no_answer_and_is_logged_once(caplog):
    def refused(url):
        raise AddressRefused("it is this server itself")

    probe = Probe(refused)
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
