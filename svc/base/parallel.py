"""Several calls at once, none of which holds up or breaks the others."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


class Late(Exception):
    """A look that was not over in time."""


def together(
    looks: Mapping[str, Callable[[], T]], within: float, begun: Callable[[list[str]], object] | None = None
) -> dict[str, T | Exception]:
    """What each returned, or raised, after `within` seconds at most; `begun` is told who is still looking.

    Daemon threads: a name server that does not answer is not waited for.
    """
    found: dict[str, T | Exception] = {}
    done = threading.Condition()

    def run(name: str, look: Callable[[], T]) -> None:
        result: T | Exception
        try:
            result = look()
        except Exception as error:  # noqa: BLE001 - each look fails by itself
            result = error
        with done:
            found[name] = result
            done.notify()

    for name, look in looks.items():
        threading.Thread(target=run, args=(name, look), daemon=True).start()
    deadline = time.monotonic() + within
    with done:
        while len(found) < len(looks) and (left := deadline - time.monotonic()) > 0:
            if begun:
                begun([name for name in looks if name not in found])
            done.wait(left)
        return {name: found.get(name, Late("not over in time")) for name in looks}
