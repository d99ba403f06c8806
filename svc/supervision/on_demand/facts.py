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
    """What routers want of an instance.

    `waiting` is the number of requests that wait, `oldest` the seconds for which the oldest of them has waited, and
    `hold` the seconds to stay awake.
    """

    waiting: Count = 0
    oldest: Seconds = 0.0
    hold: Seconds = 0.0


class GpuReading(msgspec.Struct, frozen=True):
    """The memory of one GPU in bytes, as the vendor's tool shows it."""

    index: Annotated[int, msgspec.Meta(ge=0, le=4096)]
    memory_total: Bytes
    memory_used: Bytes


class Facts(msgspec.Struct, frozen=True):
    """What a babysitter knows about its instance.

    `in_flight` is None if the requests in flight cannot be known. `gpus` is a reading that was taken after the last
    order `measure`; None without such an order, or if there is no reading. `sleep` means: put the instance to sleep,
    because an operator wants it or because it has been idle for its `idle_after`.
    """

    status: Status
    in_flight: Count | None = None
    idle_seconds: Seconds = 0.0
    load_seconds: Seconds | None = None
    demand: Demand | None = None
    gpus: Annotated[tuple[GpuReading, ...], msgspec.Meta(max_length=MAX_GPUS)] | None = None
    has_tool: bool = False
    sleep: bool = False


class Order(msgspec.Struct, frozen=True):
    """What a babysitter has to do, and why: the reason is for routers and for people.

    - `stay`: nothing.
    - `wait`: nothing; others make room or load first.
    - `measure`: report again at once, with a reading of the GPUs that is made now.
    - `release`: drain; when nothing is in flight, ask `put_to_sleep`.
    - `wake`: wake the sleeping engine (POST /wake_up); the program runs.
    """

    action: Action
    reason: str = ""


class Offer(msgspec.Struct, frozen=True):
    """What it would cost to wake an instance. `now` means that no other instance has to give way.

    `later`: it is not possible now, and may become possible by itself, such as when another is no longer held awake.
    `seconds` is the estimated time until the instance is ready, and the time that the victims will need to load again.
    `idle_seconds` is the idle time of the victim that was used last; 0 if there is none.
    """

    possible: bool
    now: bool = False
    victims: tuple[str, ...] = ()
    seconds: float = 0.0
    idle_seconds: float = 0.0
    reason: str = ""
    later: bool = False


def read_facts(text: str) -> Facts:
    """Return the facts in a JSON text; raise ValueError if the text is too long or is not valid."""
    if len(text) > MAX_FACTS_BYTES:
        raise ValueError(f"the facts have {len(text)} characters; at most {MAX_FACTS_BYTES} are read")
    return msgspec.json.decode(text, type=Facts)
