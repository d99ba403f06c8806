"""What a program needs of the GPUs, and whether it runs on demand: read from its environment=. Pure."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

from svc.supervision.on_demand.facts import MAX_BYTES, MAX_GPUS

GPUS, GPU_COUNT, GPU_MEMORY = "SVC_GPUS", "SVC_GPU_COUNT", "SVC_GPU_MEMORY"
ON_DEMAND, KEEP, MIN_AWAKE, SLEEP = "SVC_ON_DEMAND", "SVC_KEEP", "SVC_MIN_AWAKE", "SVC_SLEEP"
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
    sleep: Literal["stop", "vllm"] = "stop"

    @property
    def has_resources(self) -> bool:
        """Whether the program takes part in the distribution of GPU memory."""
        return bool(self.gpus or self.count)


def read_program(name: str, environment: Mapping[str, str] | None) -> Program | None:
    """Return what a program's environment= declares, or None if it has no resources and does not run on demand.

    Raise ValueError with the variable's name if a value is invalid.
    """
    variables = environment or {}
    if not variables.keys() & {GPUS, GPU_COUNT, ON_DEMAND}:
        return None
    sleep = variables.get(SLEEP, "stop")
    if sleep not in ("stop", "vllm"):
        raise ValueError(f"{SLEEP}={sleep!r} must be stop or vllm")
    gpus = _gpus(variables.get(GPUS, ""))
    return Program(
        name,
        gpus,
        0 if gpus else _integer(variables, GPU_COUNT, MAX_GPUS),
        _integer(variables, GPU_MEMORY, MAX_BYTES),
        variables.get(ON_DEMAND, "0") == "1",
        variables.get(KEEP, "0") == "1",
        _seconds(variables, MIN_AWAKE, DEFAULT_MIN_AWAKE_SECONDS),
        "vllm" if sleep == "vllm" else "stop",
    )


def _gpus(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")] if text else []
    if any(not part.isdecimal() for part in parts) or len(parts) > MAX_GPUS:
        raise ValueError(f"{GPUS}={text!r} must be numbers of GPUs, such as 0,1")
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
