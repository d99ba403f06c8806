"""Checks whether the GPUs of instances exist, and whether two instances share a GPU."""

from collections.abc import Iterator

from svc.config.instance.model import InfinilmBackend, InstanceConfig, VllmBackend
from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, WARNING, Finding

CUDA, HPCC = "CUDA_VISIBLE_DEVICES", "HPCC_VISIBLE_DEVICES"
NO_DEVICES = ("", "-1", "none", "NoDevFiles", "void")


def check(facts: Facts) -> Iterator[Finding]:
    running = [facts.configs[component.name] for component in facts.instances if component.name in facts.configs]
    given = [(config, variable, devices) for config in running for variable, devices in _given_devices(config)]
    if facts.gpus.problem and given:
        yield Finding("gpu.driver", WARNING, "nvidia-smi fails", facts.gpus.problem, fix="nvidia-smi")
    for config, variable, devices in given:
        if variable == CUDA:
            yield from _absent_devices(facts, config, devices)
    yield from _shared_devices(given)


def _given_devices(config: InstanceConfig) -> Iterator[tuple[str, list[str]]]:
    """Yield each device variable of a TOML and its devices; vLLM and InfiniLM use GPU 0 if there is no variable."""
    variables = {variable: config.env[variable] for variable in (CUDA, HPCC) if variable in config.env}
    if not variables and isinstance(config.backend, (VllmBackend, InfinilmBackend)):
        variables = {CUDA if isinstance(config.backend, VllmBackend) else HPCC: "0"}
    for variable, text in variables.items():
        yield variable, [device.strip() for device in text.split(",") if device.strip() not in NO_DEVICES]


def _absent_devices(facts: Facts, config: InstanceConfig, devices: list[str]) -> Iterator[Finding]:
    gpus = facts.gpus
    if CUDA not in config.env:
        return
    if devices and not gpus.indices and not gpus.uuids:
        yield Finding(
            f"gpu.{config.name}",
            WARNING,
            f"{config.name}: is given GPU {','.join(devices)}, and this machine shows none",
            "there is no /dev/nvidia*",
            first_step="in a container, pass the devices in; else install the driver",
            fix="nvidia-smi",
        )
        return
    wrong = [
        d for d in devices if (d.isdigit() and int(d) not in gpus.indices) or (_is_uuid(d) and _is_absent(d, facts))
    ]
    if wrong:
        yield Finding(
            f"gpu.{config.name}",
            PROBLEM,
            f"{config.name}: is given GPU {', '.join(wrong)}, which is not there",
            f"{CUDA} = {config.env[CUDA]!r}; this machine has {', '.join(map(str, gpus.indices))}",
            first_step=f"correct [backend] env in {config.source}",
            fix="svc up",
        )


def _is_uuid(device: str) -> bool:
    return device.startswith("GPU-")


def _is_absent(device: str, facts: Facts) -> bool:
    return bool(facts.gpus.uuids) and not any(uuid.startswith(device) for uuid in facts.gpus.uuids)


def _shared_devices(given: list[tuple[InstanceConfig, str, list[str]]]) -> Iterator[Finding]:
    users: dict[tuple[str, str], list[InstanceConfig]] = {}
    for config, variable, devices in given:
        for device in devices:
            users.setdefault((variable, device), []).append(config)
    for (variable, device), configs in sorted(users.items(), key=lambda item: item[0]):
        if len(configs) > 1:
            names = " and ".join(config.name for config in configs)
            settings = "; ".join(f"{s.source}: {s.env.get(variable, 'none given, so the first')}" for s in configs)
            yield Finding(
                f"gpu.shared.{variable}.{device}",
                WARNING,
                f"{names} share GPU {device}",
                f"{variable}: {settings}",
                first_step=f"unless that is intended, give each its own {variable} in [backend] env",
                fix="svc up",
            )
