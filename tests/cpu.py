"""The CPU cost of a piece of work as a multiple of a reference, so that it depends neither on machine nor on load."""

import json
import time
from collections.abc import Callable

DOCUMENT = json.dumps([{"role": "user", "content": "Hello", "n": n} for n in range(18_500)])  # 1 MB


def reference_cost(work: Callable[[], object], runs: int = 3) -> float:
    """Return the CPU time of `work` as a multiple of that of `json.loads` for 1 MB, which takes about 10 ms.

    The two are measured in turns, and the lowest ratio counts: another process on the core makes both slower.
    """
    return min(_cpu_seconds(work) / _cpu_seconds(lambda: json.loads(DOCUMENT)) for _ in range(runs))


def _cpu_seconds(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began
