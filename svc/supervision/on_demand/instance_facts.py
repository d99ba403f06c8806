"""What a babysitter reports about its instance to the extension, and the order that it gets back. Pure."""

from typing import Annotated, Literal

import msgspec

MAX_FACTS_BYTES = 65_536
MAX_GPUS = 256
MAX_BYTES = 2**60  # of memory; a larger number is an error of the vendor's tool

Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=10**9)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=MAX_BYTES)]
Status = Literal["asleep", "starting", "running", "draining", "stopped", "failed"]
Action = Literal["stay", "wait", "measure", "release", "wake"]


class Demand(msgspec.Struct, frozen=True):
    """What routers and operators want of an instance.

    `waiting` is the number of requests that wait for it, `oldest` the seconds for which the oldest of them has waited,
    and `hold` the seconds for which the instance is to stay awake.
    """

    waiting: Count = 0
    oldest: Seconds = 0.0
    hold: Seconds = 0.0


class GpuReading(msgspec.Struct, frozen=True):
    """The memory of one GPU in bytes, as the vendor's tool shows it."""

    index: Annotated[int, msgspec.Meta(ge=0, le=4096)]
    memory_total: Bytes
    memory_used: Bytes


class InstanceFacts(msgspec.Struct, frozen=True):
    """What a babysitter knows about its instance.

    `in_flight` is None if the requests in flight cannot be counted. `load_seconds` is the duration of the last load.
    `gpus` is a reading of the GPUs that was made after the last order `measure`; None without such an order, or if the
    reading failed. `has_tool` is whether a vendor's tool can make readings. With `sleep`, the instance is to be put to
    sleep even if no other needs its GPUs: an operator wants it, or it has been idle for its `idle_after`.
    """

    status: Status
    in_flight: Count | None = None
    idle_seconds: Seconds = 0.0
    load_seconds: Seconds | None = None
    demand: Demand | None = None
    gpus: Annotated[tuple[GpuReading, ...], msgspec.Meta(max_length=MAX_GPUS)] | None = None
    has_tool: bool = False
    sleep: bool = False
    delay: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Order(msgspec.Struct, frozen=True):
    """What a babysitter has to do, and why; routers and people read the reason.

    - `stay`: nothing.
    - `wait`: nothing yet, because others must give way or load first.
    - `measure`: report again at once, with a new reading of the GPUs.
    - `release`: drain the instance, and call `put_to_sleep` when no request is in flight.
    - `wake`: wake the engine (POST /wake_up), which sleeps while its program runs.
    """

    action: Action
    reason: str = ""


class Offer(msgspec.Struct, frozen=True):
    """What it would cost to wake an instance, and whether that is `possible`.

    `victims` are the instances that would have to give way; with `now`, there are none. `later` is true if the wake is
    not possible now, but may become so without an operator, for example once another instance need not stay awake.
    `seconds` is the estimated time until the instance is ready, plus the time that the victims will need to load again.
    `idle_seconds` is the idle time of the victim that was used last; 0 without victims.
    """

    possible: bool
    now: bool = False
    victims: tuple[str, ...] = ()
    seconds: float = 0.0
    idle_seconds: float = 0.0
    reason: str = ""
    later: bool = False


def read_facts(text: str) -> InstanceFacts:
    """Return the facts in a JSON text; raise ValueError if the text is too long or is not valid."""
    if len(text) > MAX_FACTS_BYTES:
        raise ValueError(f"the facts have {len(text)} characters; at most {MAX_FACTS_BYTES} are read")
    return msgspec.json.decode(text, type=InstanceFacts)
