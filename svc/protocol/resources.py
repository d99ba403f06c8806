"""What an instance needs of its host's GPUs, and the environment variables of its program that say so. Pure.

`svc render` writes these variables into environment= of an instance's program. supervisord's extension reads them there
to decide which instances fit beside each other, and `svc launch` makes only these GPUs visible to the instance.
"""

import dataclasses
from typing import Any

GPUS_VARIABLE = "SVC_GPUS"  # indexes of the GPUs, separated by commas
GPU_COUNT_VARIABLE = "SVC_GPU_COUNT"  # number of GPUs; the extension chooses them at each start
GPU_MEMORY_VARIABLE = "SVC_GPU_MEMORY"  # bytes on each GPU; not set: the whole GPU
ON_DEMAND_VARIABLE = "SVC_ON_DEMAND"  # "1": started when a request needs it
KEEP_VARIABLE = "SVC_KEEP"  # "1": never put to sleep to make room
MIN_AWAKE_VARIABLE = "SVC_MIN_AWAKE"  # seconds after its start in which it is not put to sleep to make room
SLEEP_VARIABLE = "SVC_SLEEP"  # "vllm": put to sleep by the engine itself; not set: stopped
ON_DEMAND_VARIABLES = (  # read by supervisord's extension and `svc launch` only
    GPU_COUNT_VARIABLE,
    ON_DEMAND_VARIABLE,
    KEEP_VARIABLE,
    MIN_AWAKE_VARIABLE,
    SLEEP_VARIABLE,
)
SLEEP_BY_STOP, SLEEP_BY_VLLM = "stop", "vllm"  # ways to put an instance to sleep
MAX_GPU_INDEX, MAX_GPU_COUNT = 63, 64


@dataclasses.dataclass(frozen=True, slots=True)
class Resources:
    """The GPUs of one instance: either certain ones, or a number of any GPUs. Without both, nothing is known."""

    gpus: tuple[int, ...] = ()
    count: int = 0
    memory: int = 0  # bytes on each of these GPUs; 0: the whole GPU

    def __bool__(self) -> bool:
        return bool(self.gpus or self.count)

    @property
    def gpu_count(self) -> int:
        """The number of GPUs that the instance occupies."""
        return len(self.gpus) or self.count

    def to_json(self) -> dict[str, Any]:
        """Return the given values, as they are in the instance's metadata."""
        values = {"gpus": list(self.gpus), "count": self.count, "memory": self.memory}
        return {key: value for key, value in values.items() if value}
