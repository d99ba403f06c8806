"""What an instance needs of its host's GPUs, and how it is put to sleep. Pure."""

import dataclasses
from typing import Any

SLEEP_BY_STOP, SLEEP_BY_VLLM = "stop", "vllm"  # ways to put an instance to sleep
MAX_GPU_INDEX, MAX_GPU_COUNT = 63, 64


@dataclasses.dataclass(frozen=True, slots=True)
class Resources:
    """The GPUs that one instance needs: `gpus` by their indexes, or `count` of any GPUs.

    If neither is given, it is unknown what the instance needs.
    """

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
        """Return the values that were given, for the instance's metadata."""
        values = {"gpus": list(self.gpus), "count": self.count, "memory": self.memory}
        return {key: value for key, value in values.items() if value}
