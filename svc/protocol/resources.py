"""What an instance needs of its host's GPUs, and how it is put to sleep. Pure."""

import dataclasses
from typing import Any

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
