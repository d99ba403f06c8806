"""Garbage collections of programs that run for long. While these start, `svc/__main__.py` prevents collections."""

import gc

THRESHOLD = 20_000  # number of new objects that starts a collection; Python's default, 700, costs more CPU


def begin_collections() -> None:
    """Begin to collect garbage, in a program that has started.

    Collections skip the present objects, which live as long as the process. There is no collection before, because it
    would take 0.03 s of CPU, and the start leaves less than a thousand objects of garbage.
    """
    gc.freeze()
    gc.set_threshold(THRESHOLD)
