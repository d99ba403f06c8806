"""Find collisions between babysitter TOML files: two programs with the same port or name in the registry. Pure."""

import dataclasses
from collections.abc import Iterable, Sequence

from svc.protocol.instance_names import instance_service
from svc.settings import Settings


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """The name and the port that one file claims; an invalid or missing value is None."""

    file: str
    name: str | None
    port: int | None


def collisions(claims: Sequence[Claim], settings: Settings) -> list[str]:
    """Return one line for each collision. The line begins with the later of the two files."""
    return [*_name_collisions(claims), *_port_collisions(claims, settings)]


def _name_collisions(claims: Sequence[Claim]) -> Iterable[str]:
    files: dict[str, str] = {}  # name in the registry -> file that claims it
    for claim in claims:
        if claim.name is None:
            continue
        for name in (claim.name, instance_service(claim.name)):
            if name in files:
                is_own_name = name == claim.name and _is_name_of(claims, files[name], name)
                detail = "" if is_own_name else f", as {name!r} in the registry"
                yield f"{claim.file}: name: {claim.name!r} collides with {files[name]}{detail}; choose another"
                break
        for name in (claim.name, instance_service(claim.name)):
            files.setdefault(name, claim.file)


def _is_name_of(claims: Sequence[Claim], file: str, name: str) -> bool:
    return any(c.file == file and c.name == name for c in claims)


def _port_collisions(claims: Sequence[Claim], settings: Settings) -> Iterable[str]:
    owners: dict[int, str] = {}
    for component, port in (("registry", settings.registry.port), ("router", settings.router.port)):
        if not settings.launch.runs(component):
            continue
        if port in owners:
            yield f"{component}: port: {port} is also {owners[port]}; choose another"
        owners.setdefault(port, f"the {component}'s")
    for claim in claims:
        if claim.port is None:
            continue
        for port, purpose in ((claim.port, ""), (claim.port + 1, ", needed for the babysitter,")):
            if port in owners:
                yield f"{claim.file}: port: {port}{purpose} is also {owners[port]}; choose another port"
        owners.setdefault(claim.port, f"the instance's of {claim.file}")
        owners.setdefault(claim.port + 1, f"the babysitter's of {claim.file} (its port + 1)")
