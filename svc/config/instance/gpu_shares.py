"""Find instances of one host that its GPUs can never hold, or never hold together. Pure."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from svc.base.byte_size import distinct_size_texts, size_text
from svc.config.instance.model import InstanceConfig

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
ELSEWHERE = "correct it, unless the instance runs on another machine"


@dataclasses.dataclass(frozen=True, slots=True)
class _Gpu:
    """One GPU and the instances that name it. `total` is its memory in bytes; 0: unknown."""

    index: int
    total: int
    configs: Sequence[InstanceConfig]

    def fits(self, configs: Iterable[InstanceConfig]) -> bool:
        """Return whether these instances may be awake together, as far as is known."""
        needs = [config.resources.memory for config in configs]
        if len(needs) > 1 and not all(needs):
            return False  # an instance without gpu_memory needs the whole GPU
        return not self.total or sum(needs) <= self.total


def gpu_share_warnings(configs: Sequence[InstanceConfig], totals: Mapping[int, int]) -> Iterator[str]:
    """Yield a warning for each instance that can never be awake; it begins with the file and the key.

    `totals` maps the index of each of this machine's GPUs to its memory in bytes; {} if that is unknown.
    """
    with_resources = [config for config in configs if config.resources]
    too_large = {config.name: reason for config in with_resources if (reason := _too_large(config, totals))}
    for config in with_resources:
        if config.name in too_large:
            yield f"{config.source}: resources.{too_large[config.name]}; {ELSEWHERE}"
    gpus = _gpus([config for config in with_resources if config.name not in too_large], totals)
    for gpu in gpus:
        yield from _crowded(gpu)
    yield from _contradicting(with_resources)
    yield from _uncounted(configs, gpus)


def _too_large(config: InstanceConfig, totals: Mapping[int, int]) -> str:
    """Return the key whose value is too large for this machine's GPUs, and why; "" if they can hold the instance."""
    needs = config.resources
    if not totals:
        return ""
    if missing := [index for index in needs.gpus if index not in totals]:
        return f"gpus: this machine has no GPU {missing[0]}; it has {', '.join(map(str, sorted(totals)))}"
    if small := [index for index in needs.gpus if 0 < totals[index] < needs.memory]:
        needed, total = distinct_size_texts(needs.memory, totals[small[0]])
        return f"gpu_memory: it needs {needed}, and GPU {small[0]} has {total}"
    large_enough = sum(not total or total >= needs.memory for total in totals.values())
    if needs.count > large_enough:
        memory = f" with {size_text(needs.memory)}" if needs.memory else ""
        return f"gpus: it needs {needs.count} GPUs{memory}, and this machine has {large_enough}"
    return ""


def _gpus(configs: Sequence[InstanceConfig], totals: Mapping[int, int]) -> list[_Gpu]:
    indexes = sorted({index for config in configs for index in config.resources.gpus})
    return [
        _Gpu(index, totals.get(index, 0), [config for config in configs if index in config.resources.gpus])
        for index in indexes
    ]


def _crowded(gpu: _Gpu) -> Iterator[str]:
    """Yield warnings about instances that never make room: they exceed a GPU, or leave too little of it for others."""
    kept = [config for config in gpu.configs if config.keep or not config.on_demand]
    if not gpu.fits(kept):
        names = ", ".join(config.name for config in kept)
        yield (
            f"{kept[-1].source}: resources.gpus: GPU {gpu.index} cannot hold {names} together{_needs(gpu, kept)}, and "
            "none of them makes room; move one to another GPU, or give it on_demand = true without keep"
        )
        return
    always_on = [config for config in gpu.configs if not config.on_demand]
    for config in gpu.configs:
        if config not in kept and not gpu.fits([*always_on, config]):
            names, needs = ", ".join(other.name for other in always_on), _needs(gpu, [*always_on, config])
            yield (
                f"{config.source}: resources.gpus: it can never wake, because GPU {gpu.index} cannot hold it beside "
                f"{names}{needs}; move it to another GPU, or give {names} on_demand = true"
            )


def _needs(gpu: _Gpu, configs: Sequence[InstanceConfig]) -> str:
    if whole := [config.name for config in configs if not config.resources.memory]:
        return f" ({whole[0]} needs all of it: it has no gpu_memory)"
    needed = sum(config.resources.memory for config in configs)
    return f" (they need {size_text(needed)}, and it has {size_text(gpu.total)})"


def _contradicting(configs: Iterable[InstanceConfig]) -> Iterator[str]:
    """Yield a warning for each instance whose environment variable makes other GPUs visible than its [resources]."""
    for config in configs:
        devices = config.env.get(VISIBLE_DEVICES, "")
        if devices.replace(",", "").isdecimal() and devices != ",".join(map(str, config.resources.gpus)):
            yield (
                f"{config.source}: backend.env.{VISIBLE_DEVICES}: wins over the GPUs in [resources], so that what it "
                "uses is not counted; remove it"
            )


def _uncounted(configs: Sequence[InstanceConfig], gpus: Iterable[_Gpu]) -> Iterator[str]:
    """Yield a warning for each instance without [resources] that uses a GPU which other instances declare."""
    others = {str(gpu.index): gpu for gpu in gpus}
    for config in configs:
        devices = [] if config.resources else config.env.get(VISIBLE_DEVICES, "").split(",")
        for gpu in (others[device.strip()] for device in devices if device.strip() in others):
            yield (
                f"{config.source}: resources: missing, so that what it needs of GPU {gpu.index} ({VISIBLE_DEVICES}) "
                f"is not kept free of {gpu.configs[0].name}; give it [resources], too"
            )
            break
