"""Groups as supervisord reports them."""

from svc.supervision.program_config import GroupConfig, ProgramConfig


def program(name: str, command: str = "run", environment: dict[str, str] | None = None, **keys: str) -> ProgramConfig:
    return ProgramConfig(name, {"command": command, "stopwaitsecs": "30", **keys}, environment or {})


def group(name: str, *programs: ProgramConfig, **keys: str) -> GroupConfig:
    return GroupConfig(name, {"kind": "ProcessGroupConfig", "priority": "999", **keys}, {p.name: p for p in programs})


def instance(name: str, server: str = "run", babysitter: str = "watch", environment: dict[str, str] | None = None):
    return group(name, program(f"{name}:server", server, environment), program(f"{name}:babysitter", babysitter))
