"""What a program needs of the GPUs, and whether it runs on demand: read from its environment=. Pure."""

import dataclasses
import math
from collections.abc import Mapping

from svc.protocol.on_demand_variables import (
    GPU_COUNT_VARIABLE,
    GPU_MEMORY_VARIABLE,
    GPUS_VARIABLE,
    KEEP_VARIABLE,
    MIN_AWAKE_VARIABLE,
    ON_DEMAND_VARIABLE,
    SLEEP_VARIABLE,
)
from svc.protocol.resources import SLEEP_BY_STOP, SLEEP_BY_VLLM
from svc.supervision.on_demand.instance_facts import MAX_BYTES, MAX_GPUS

DEFAULT_MIN_AWAKE_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """A program with resources or on demand. It needs `memory` bytes on each of its GPUs; 0 is the whole GPU.

    `gpus` is a fixed list; it is empty if `count` GPUs have to be chosen, or if the program declares no resources.
    """

    name: str
    gpus: tuple[int, ...] = ()
    count: int = 0
    memory: int = 0
    on_demand: bool = False
    keep: bool = False
    min_awake: float = DEFAULT_MIN_AWAKE_SECONDS
    sleep: str = SLEEP_BY_STOP

    @property
    def sleeps_running(self) -> bool:
        """Whether the program's process runs on while the instance is asleep."""
        return self.sleep == SLEEP_BY_VLLM

    @property
    def has_resources(self) -> bool:
        """Whether the program declares what it needs of the GPUs, so that memory is reserved for it."""
        return bool(self.gpus or self.count)


def read_program(name: str, environment: Mapping[str, str] | None) -> Program | None:
    """Return what a program's environment= declares, or None if it has no resources and does not run on demand.

    Raise ValueError with the variable's name if a value is invalid.
    """
    variables = environment or {}
    if not variables.keys() & {GPUS_VARIABLE, GPU_COUNT_VARIABLE, ON_DEMAND_VARIABLE}:
        return None
    sleep = variables.get(SLEEP_VARIABLE, SLEEP_BY_STOP)
    if sleep not in (SLEEP_BY_STOP, SLEEP_BY_VLLM):
        raise ValueError(f"{SLEEP_VARIABLE}={sleep!r} must be {SLEEP_BY_STOP} or {SLEEP_BY_VLLM}")
    gpus = _gpus(variables.get(GPUS_VARIABLE, ""))
    return Program(
        name,
        gpus,
        0 if gpus else _integer(variables, GPU_COUNT_VARIABLE, MAX_GPUS),
        _integer(variables, GPU_MEMORY_VARIABLE, MAX_BYTES),
        variables.get(ON_DEMAND_VARIABLE, "0") == "1",
        variables.get(KEEP_VARIABLE, "0") == "1",
        _seconds(variables, MIN_AWAKE_VARIABLE, DEFAULT_MIN_AWAKE_SECONDS),
        sleep,
    )


def _gpus(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")] if text else []
    if any(not part.isdecimal() for part in parts) or len(parts) > MAX_GPUS:
        raise ValueError(f"{GPUS_VARIABLE}={text!r} must be numbers of GPUs, such as 0,1")
    return tuple(sorted({int(part) for part in parts}))


def _integer(variables: Mapping[str, str], key: str, maximum: int) -> int:
    text = variables.get(key, "0")
    if not text.isdecimal() or len(text) > 20 or int(text) > maximum:
        raise ValueError(f"{key}={text!r} must be a whole number of at most {maximum}")
    return int(text)


def _seconds(variables: Mapping[str, str], key: str, default: float) -> float:
    text = variables.get(key, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise ValueError(f"{key}={text!r} must be a number of seconds that is not negative")
    return value
