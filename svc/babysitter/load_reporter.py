"""Reports the load of the engine to the registry, for the routers' policies: requests, KV cache, tokens per second."""

import time
from collections.abc import Callable

from svc.babysitter.engine_load import MetricsPage
from svc.babysitter.lifecycle import LifecycleState
from svc.babysitter.load_metrics import LoadSample, parse_load, token_rate
from svc.babysitter.monitor import Monitor
from svc.protocol.instance_load import InstanceLoad

RETRY_INTERVAL_SECONDS = 30.0  # pause if the engine has no such metrics, or the registry accepts no loads
MAX_PAGE_CHARS = 8 << 20  # limit for /metrics, because parsing more every two seconds would cost too much CPU time
RATE_DIGITS = 1
CACHE_DIGITS = 4


class LoadReporter:
    """Reports the load: call `run_round` again and again; it returns the seconds to pause before the next call.

    `send` sends the load to the registry and returns whether the registry has accepted it, None without an answer.
    """

    def __init__(
        self,
        monitor: Monitor,
        page: MetricsPage,
        send: Callable[[InstanceLoad], bool | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.monitor = monitor
        self.page = page
        self.send = send
        self.clock = clock
        self.interval = monitor.config.load_interval
        self._sample: LoadSample | None = None  # the last sample of the current process
        self._sample_at = 0.0
        self._process_stage: int | None = None

    def run_round(self) -> float:
        """Read the engine's metrics and report its load; do nothing unless the instance runs."""
        snapshot = self.monitor.snapshot
        if snapshot.process_stage != self._process_stage:
            self._process_stage, self._sample = snapshot.process_stage, None
        if snapshot.state is not LifecycleState.RUNNING:
            return self.interval
        answer = self.page.read()
        if answer is None:
            return self.interval  # a busy engine may answer late; routers use its last load until that is too old
        sample = parse_load(answer[1]) if len(answer[1]) <= MAX_PAGE_CHARS else None
        if sample is None:
            return max(self.interval, RETRY_INTERVAL_SECONDS)
        accepted = self.send(self._load(sample, self.clock()))
        return self.interval if accepted is not False else max(self.interval, RETRY_INTERVAL_SECONDS)

    def _load(self, sample: LoadSample, now: float) -> InstanceLoad:
        rate = token_rate(self._sample, sample, now - self._sample_at)
        self._sample, self._sample_at = sample, now
        return InstanceLoad(
            running=sample.running,
            waiting=sample.waiting,
            kv_cache=None if sample.kv_cache is None else round(sample.kv_cache, CACHE_DIGITS),
            tokens_per_second=None if rate is None else round(rate, RATE_DIGITS),
            interval=self.interval,
        )
