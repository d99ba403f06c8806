"""Garbage collection in programs that run for long. `svc/__main__.py` disables it until a program has started."""

import gc

THRESHOLD = 20_000  # number of new objects that starts a collection; Python's default, 700, costs more CPU


def begin_collections() -> None:
    """Enable garbage collection in a program that has started.

    Collections skip the objects that exist now, because these live as long as the process. Collecting the garbage of
    the start first would take 0.03 s of CPU, and free less than a thousand objects.
    """
    gc.freeze()
    gc.set_threshold(THRESHOLD)
