import threading

import pytest

from svc.router.usage.native_thread import NativeThread


def test_a_function_runs_and_its_result_is_returned():
    assert NativeThread().run(lambda: 4) == 4


def test_what_a_function_raises_is_raised():
    def fail() -> None:
        raise OSError(28, "No space left on device")

    thread = NativeThread()
    with pytest.raises(OSError, match="No space left"):
        thread.run(fail)


def test_without_gevent_no_thread_is_made():
    assert NativeThread().run(threading.get_ident) == threading.get_ident()
