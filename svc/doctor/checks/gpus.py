"""The GPUs that instances are given, against those that are there, and those that two share."""

from collections.abc import Iterator

from svc.config.instance.model import Infinilm, Spec, Vllm
from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, WARNING, Finding

CUDA, HPCC = "CUDA_VISIBLE_DEVICES", "HPCC_VISIBLE_DEVICES"
NONE = ("", "-1", "none", "NoDevFiles", "void")


def check(facts: Facts) -> Iterator[Finding]:
    running = [facts.specs[component.name] for component in facts.instances if component.name in facts.specs]
    given = [(spec, variable, devices) for spec in running for variable, devices in _given(spec)]
    if facts.gpus.trouble and given:
        yield Finding("gpu.driver", WARNING, "nvidia-smi fails", facts.gpus.trouble, fix="nvidia-smi")
    for spec, variable, devices in given:
        if variable == CUDA:
            yield from _absent(facts, spec, devices)
    yield from _shared(given)


def _given(spec: Spec) -> Iterator[tuple[str, list[str]]]:
    """The devices that its file gives it; an engine that is told of none takes the first."""
    told = {variable: spec.env[variable] for variable in (CUDA, HPCC) if variable in spec.env}
    if not told and isinstance(spec.backend, (Vllm, Infinilm)):
        told = {CUDA if isinstance(spec.backend, Vllm) else HPCC: "0"}
    for variable, text in told.items():
        yield variable, [word.strip() for word in text.split(",") if word.strip() not in NONE]


def _absent(facts: Facts, spec: Spec, devices: list[str]) -> Iterator[Finding]:
    there = facts.gpus
    if CUDA not in spec.env:
        return
    if devices and not there.indices and not there.uuids:
        yield Finding(
            f"gpu.{spec.name}",
            WARNING,
            f"{spec.name}: is given GPU {','.join(devices)}, and this machine shows none",
            "there is no /dev/nvidia*",
            first="in a container, pass the devices in; else install the driver",
            fix="nvidia-smi",
        )
        return
    wrong = [
        d for d in devices if (d.isdigit() and int(d) not in there.indices) or (_is_uuid(d) and _unknown(d, facts))
    ]
    if wrong:
        yield Finding(
            f"gpu.{spec.name}",
            PROBLEM,
            f"{spec.name}: is given GPU {', '.join(wrong)}, which is not there",
            f"{CUDA} = {spec.env[CUDA]!r}; this machine has {', '.join(map(str, there.indices))}",
            first=f"correct [backend] env in {spec.source}",
            fix="svc up",
        )


def _is_uuid(device: str) -> bool:
    return device.startswith("GPU-")


def _unknown(device: str, facts: Facts) -> bool:
    return bool(facts.gpus.uuids) and not any(uuid.startswith(device) for uuid in facts.gpus.uuids)


def _shared(given: list[tuple[Spec, str, list[str]]]) -> Iterator[Finding]:
    users: dict[tuple[str, str], list[Spec]] = {}
    for spec, variable, devices in given:
        for device in devices:
            users.setdefault((variable, device), []).append(spec)
    for (variable, device), specs in sorted(users.items(), key=lambda item: item[0]):
        if len(specs) > 1:
            names = " and ".join(spec.name for spec in specs)
            told = "; ".join(f"{s.source}: {s.env.get(variable, 'none given, so the first')}" for s in specs)
            yield Finding(
                f"gpu.shared.{variable}.{device}",
                WARNING,
                f"{names} share GPU {device}",
                f"{variable}: {told}",
                first=f"unless that is meant, give each its own {variable} in [backend] env",
                fix="svc up",
            )
