"""Calls in parallel: results, failures and the deadline."""

import threading

import pytest

from svc.base.parallel import CallTimeout, run_parallel


def fail() -> int:
    raise ValueError("broken")


def test_each_call_has_its_own_result_or_exception():
    results = run_parallel({"a": lambda: 1, "b": fail, "c": lambda: 3}, timeout=5)
    assert (results["a"], results["c"]) == (1, 3)
    assert isinstance(results["b"], ValueError)


def test_no_calls_have_no_results():
    assert run_parallel({}, timeout=5) == {}


@pytest.fixture
def release() -> threading.Event:
    event = threading.Event()
    yield event
    event.set()


def test_a_call_that_hangs_times_out_and_the_others_do_not(release):
    results = run_parallel({"hangs": release.wait, "ends": lambda: True}, timeout=1)
    assert isinstance(results["hangs"], CallTimeout)
    assert results["ends"] is True


def test_the_caller_gets_the_names_of_unfinished_calls(release):
    unfinished: list[list[str]] = []

    def on_wait(names: list[str]) -> None:
        unfinished.append(names)
        if names == ["waits"]:
            release.set()

    results = run_parallel({"waits": release.wait, "ends": lambda: True}, timeout=5, on_wait=on_wait)
    assert results == {"waits": True, "ends": True}
    assert unfinished[-1] == ["waits"]
