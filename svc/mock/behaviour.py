"""The command-line options of the mock, and its misbehaviour. Pure."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec

from svc.base.errors import BadRequest

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
FinalMessage = Literal["continue", "ignore", "refuse"]


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The misbehaviour of the mock; svc/cli/mock.py describes each field. None, 0 or False turns a field off."""

    tokens: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    first_token_delay: Seconds = 0
    token_delay: Seconds = 0
    final_message: FinalMessage = "continue"
    cut_after: Count | None = None
    cut_bytes: Count | None = None
    drop: bool = False
    reset: bool = False
    fail_status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    fail_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    fail_every: Positive | None = None
    hang: bool = False
    hang_after: Count | None = None
    everywhere: bool = False
    loading: Seconds = 0
    memory: Annotated[int, msgspec.Meta(ge=0, le=1 << 20)] = 0
    exit_after: Seconds | None = None
    exit_code: Annotated[int, msgspec.Meta(ge=0, le=255)] = 1

    def changed(self, changes: dict[str, Any]) -> "Behaviour":
        """Return a copy with `changes`; raise BadRequest for an unknown key or an invalid value."""
        try:
            return msgspec.convert({**msgspec.structs.asdict(self), **changes}, Behaviour)
        except msgspec.ValidationError as error:
            raise BadRequest(f"cannot behave like that: {error}") from None

    def fails(self, number: int, chance: float) -> bool:
        """Return whether request `number` (counted from 1) shall fail; `chance` is a random number in [0, 1)."""
        if self.fail_every is not None:
            return number % self.fail_every == 0
        if self.fail_rate is not None:
            return chance < self.fail_rate
        return self.fail_status is not None


@dataclass(frozen=True, slots=True)
class GpuOptions:
    """The simulated GPUs that a mock uses. Sizes are bytes on each GPU."""

    state: str = ""  # path of the file of GPUs; empty: there are none
    memory: int = 0
    gpus: tuple[int, ...] = (0,)
    sleep_memory: int = 0  # the memory that an engine keeps while it sleeps
    load_time: float = 0  # seconds
    load_rate: float = 0  # GB a second; 0: the time does not depend on the size
    wake_time: float = 0  # seconds


@dataclass(frozen=True, slots=True)
class MockOptions:
    """The command-line options of one mock."""

    name: str
    port: int
    models: tuple[str, ...]
    host: str = "127.0.0.1"
    child: bool = False
    api_key: str = ""  # the key that clients must send; empty: none
    behaviour: Behaviour = field(default_factory=Behaviour)
    gpu: GpuOptions = field(default_factory=GpuOptions)
