"""What only shows across files: two programs on one port, two of one name. Pure."""

import dataclasses
from collections.abc import Iterable, Sequence

from svc.protocol.instance_names import instance_service
from svc.settings import Settings


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """The name and the port that a file asks for; None where it is wrong or missing."""

    file: str
    name: str | None
    port: int | None


def between(claims: Sequence[Claim], settings: Settings) -> list[str]:
    """A line for each collision, told of the file that comes later."""
    return [*_names(claims), *_ports(claims, settings)]


def _names(claims: Sequence[Claim]) -> Iterable[str]:
    seen: dict[str, str] = {}  # every name that will stand in the registry -> the file it comes from
    for claim in claims:
        if claim.name is None:
            continue
        for name in (claim.name, instance_service(claim.name)):
            if name in seen:
                of = "" if name == claim.name and _is_of(claims, seen[name], name) else f", as {name!r} in the registry"
                yield f"{claim.file}: name: {claim.name!r} collides with {seen[name]}{of}; choose another"
                break
        for name in (claim.name, instance_service(claim.name)):
            seen.setdefault(name, claim.file)


def _is_of(claims: Sequence[Claim], file: str, name: str) -> bool:
    return any(c.file == file and c.name == name for c in claims)


def _ports(claims: Sequence[Claim], settings: Settings) -> Iterable[str]:
    seen: dict[int, str] = {}
    for component, port in (("registry", settings.registry.port), ("router", settings.router.port)):
        if not settings.launch.runs(component):
            continue
        if port in seen:
            yield f"{component}: port: {port} is also {seen[port]}; choose another"
        seen.setdefault(port, f"the {component}'s")
    for claim in claims:
        if claim.port is None:
            continue
        for port, what in ((claim.port, ""), (claim.port + 1, ", needed for the babysitter,")):
            if port in seen:
                yield f"{claim.file}: port: {port}{what} is also {seen[port]}; choose another port"
        seen.setdefault(claim.port, f"the instance's of {claim.file}")
        seen.setdefault(claim.port + 1, f"the babysitter's of {claim.file} (its port + 1)")
