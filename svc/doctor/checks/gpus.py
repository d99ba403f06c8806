"""Checks that the GPUs of instances exist and work, are not shared, and have no memory held by other processes."""

from collections.abc import Iterator

from svc.base.byte_size import size_text
from svc.config.instance.model import InfinilmBackend, InstanceConfig, VllmBackend
from svc.doctor.facts import Facts
from svc.doctor.findings import PROBLEM, WARNING, Finding

CUDA, HPCC = "CUDA_VISIBLE_DEVICES", "HPCC_VISIBLE_DEVICES"
MIN_STRANGER_BYTES = 500_000_000
NO_DEVICES = ("", "-1", "none", "NoDevFiles", "void")


def check(facts: Facts) -> Iterator[Finding]:
    running = [facts.configs[component.name] for component in facts.instances if component.name in facts.configs]
    given = [(config, variable, devices) for config in running for variable, devices in _given_devices(config)]
    needing = [config for config in running if config.resources]
    if facts.gpus.problem and (given or needing):
        yield _failing_tool(facts)
    for config, variable, devices in given:
        if variable == CUDA:
            yield from _absent_devices(facts, config, devices)
    yield from _shared_devices(given)
    for config in needing:
        yield from _absent_resources(facts, config)
    if given or needing or any(process.instance for gpu in facts.gpus.listed for process in gpu.processes):
        yield from _broken_gpus(facts)
        yield from _strangers(facts)


def _failing_tool(facts: Facts) -> Finding:
    tool = facts.gpus.tool or "nvidia-smi"
    return Finding(
        "gpu.driver",
        WARNING,
        f"{tool} fails",
        facts.gpus.problem,
        first_step="restart the machine if the driver hangs (`dmesg` says why), else read what the tool says",
        fix=f"{tool}",
    )


def _given_devices(config: InstanceConfig) -> Iterator[tuple[str, list[str]]]:
    """Yield each environment variable in a TOML that selects devices, with these devices.

    Without such a variable, vLLM and InfiniLM use GPU 0.
    """
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


def _absent_resources(facts: Facts, config: InstanceConfig) -> Iterator[Finding]:
    """Yield a finding if the vendor's tool lists fewer GPUs than [resources] needs, or lacks a GPU that it names."""
    present = [gpu.index for gpu in facts.gpus.listed]
    absent = [index for index in config.resources.gpus if index not in present]
    if not present or not (absent or config.resources.gpu_count > len(present)):
        return
    needs = f"GPU {', '.join(map(str, absent))}" if absent else f"{config.resources.gpu_count} GPUs"
    yield Finding(
        f"gpu.resources.{config.name}",
        PROBLEM,
        f"{config.name}: needs {needs}, which this machine does not have",
        f"{facts.gpus.tool} lists {', '.join(map(str, present))}",
        first_step=f"correct [resources] in {config.source}",
        fix="svc up",
    )


def _broken_gpus(facts: Facts) -> Iterator[Finding]:
    """Yield a finding for each GPU that the vendor's tool reports as broken, or that has counted errors."""
    for gpu in facts.gpus.listed:
        evidence = f"{facts.gpus.tool}: {gpu.name} {gpu.uuid}".rstrip()
        if gpu.fault:
            yield Finding(
                f"gpu.fault.{gpu.index}",
                PROBLEM,
                f"GPU {gpu.index} does not work: {gpu.fault}",
                evidence,
                first_step="drain what uses it (svc drain NAME), and reset the GPU or restart the machine",
                fix="svc gpus",
            )
        elif gpu.errors:
            yield Finding(
                f"gpu.errors.{gpu.index}",
                WARNING,
                f"GPU {gpu.index} has had {gpu.errors} errors that it could not correct",
                evidence,
                first_step="what runs on it may crash or answer wrongly; if the number rises, have the GPU replaced",
                fix="svc gpus",
            )


def _strangers(facts: Facts) -> Iterator[Finding]:
    """Yield a finding for each process that holds much memory of GPUs and belongs to no instance."""
    for stranger in facts.gpus.strangers:
        if stranger.memory is not None and stranger.memory < MIN_STRANGER_BYTES:
            continue  # as much as a display server or a monitoring tool needs
        indices = ", ".join(map(str, stranger.gpus))
        amount = "memory" if stranger.memory is None else size_text(stranger.memory)
        yield Finding(
            f"gpu.stranger.{stranger.pid}",
            WARNING,
            f"pid {stranger.pid} holds {amount} of GPU {indices}, and belongs to no instance",
            stranger.command,
            first_step="if nobody needs it",
            fix=f"kill {stranger.pid}",
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
