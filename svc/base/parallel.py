"""Run several calls in parallel with one deadline; a call that hangs or fails does not affect the others."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


class CallTimeout(Exception):
    """The result of a call that did not end before the deadline."""


def run_parallel(
    calls: Mapping[str, Callable[[], T]], timeout: float, on_wait: Callable[[list[str]], object] | None = None
) -> dict[str, T | Exception]:
    """Return the result or the exception of each call; CallTimeout for a call that takes longer than `timeout` seconds.

    `on_wait` is called with the names of the unfinished calls: at the start, and whenever a call ends. The calls run
    in daemon threads, so that the program can exit while a name server does not answer.
    """
    results: dict[str, T | Exception] = {}
    changed = threading.Condition()

    def run(name: str, call: Callable[[], T]) -> None:
        result: T | Exception
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - the exception is the result of this call
            result = error
        with changed:
            results[name] = result
            changed.notify()

    for name, call in calls.items():
        threading.Thread(target=run, args=(name, call), daemon=True).start()
    deadline = time.monotonic() + timeout
    with changed:
        while len(results) < len(calls) and (remaining := deadline - time.monotonic()) > 0:
            if on_wait:
                on_wait([name for name in calls if name not in results])
            changed.wait(remaining)
        return {name: results.get(name, CallTimeout("not over in time")) for name in calls}
