"""One babysitter rings the bell, and the others notice it at once."""

import threading

import pytest

from svc.babysitter.on_demand.bell import PAUSE_SECONDS, WAIT_SECONDS, Bell


@pytest.fixture
def path(tmp_path):
    return tmp_path / "var" / "on_demand.bell"


def listen(path):
    """Return an event that is set when the bell at `path` rings, once it is being listened to."""
    heard = threading.Event()
    bell = Bell(path, heard.set)
    bell._watch()
    threading.Thread(target=bell.wait, daemon=True).start()
    return heard


def test_all_babysitters_hear_the_bell(path):
    heard = [listen(path), listen(path)]
    Bell(path, lambda: None).ring()
    assert all(event.wait(5) for event in heard)


def test_it_rings_again_although_the_file_was_replaced(path):
    times = []
    bell = Bell(path, lambda: times.append(1))
    for _ in range(2):
        bell._watch()
        bell.ring()
        assert bell.wait() == PAUSE_SECONDS
        path.unlink()
    assert len(times) >= 2


def test_ringing_without_a_file_is_no_error(path):
    Bell(path, lambda: None).ring()


def test_without_a_place_for_the_file_there_is_no_bell(tmp_path):
    (tmp_path / "var").write_text("no directory")
    assert Bell(tmp_path / "var" / "on_demand.bell", lambda: None).wait() == WAIT_SECONDS
