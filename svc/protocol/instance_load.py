"""The load of an instance: its babysitter reports it to the registry, which passes it on to the routers. Pure.

A load is out of date within seconds, so it is not part of the registration.
"""

from typing import Annotated

import msgspec

MAX_AGE_INTERVALS = 3  # a load is ignored once it is older than three times its `interval`
MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 0.1, 3600.0
MAX_COUNT = 1_000_000
MAX_TOKENS_PER_SECOND = 1e9
MAX_LOAD_AGE_SECONDS = MAX_AGE_INTERVALS * MAX_INTERVAL_SECONDS
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
Interval = Annotated[float, msgspec.Meta(ge=MIN_INTERVAL_SECONDS, le=MAX_INTERVAL_SECONDS)]


class InstanceLoad(msgspec.Struct, frozen=True, kw_only=True):
    """The load of one instance, from its engine's own metrics; None where the engine does not report a value."""

    running: Count  # requests that the engine works on
    waiting: Count  # requests in the engine's own queue
    kv_cache: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None  # used share of the KV cache
    tokens_per_second: Annotated[float, msgspec.Meta(ge=0, le=MAX_TOKENS_PER_SECOND)] | None = None
    interval: Interval = 2.0  # seconds until the next report

    def values(self) -> dict[str, float | None]:
        """Return the measured values, as the registry's list shows them in a service's JSON."""
        return {
            "running": self.running,
            "waiting": self.waiting,
            "kv_cache": self.kv_cache,
            "tokens_per_second": self.tokens_per_second,
        }

    def is_current(self, age: float) -> bool:
        """Return whether the load is still valid, `age` seconds after its report."""
        return age <= MAX_AGE_INTERVALS * self.interval


class ListedLoad(InstanceLoad, frozen=True, kw_only=True):
    """An entry of the registry's list of loads."""

    service: str
    age: float  # seconds since the report
