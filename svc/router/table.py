"""The instances that the router knows, as one immutable snapshot: pure."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from svc.instance import Service, babysitter_url
from svc.router.policy import Member, Pool


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One instance: where it is, what it serves, and what the registry says of it."""

    name: str
    host: str
    port: int
    url: str
    secure: bool = False
    status: str = "running"
    drained: bool = False
    well: bool | None = None  # the registry's checks: None when it has none
    static: bool = False
    models: tuple[str, ...] = ()
    weight: int = 1
    metadata: dict[str, Any] = {}

    @property
    def babysitter_url(self) -> str:
        told = self.metadata.get("babysitter")
        return told if isinstance(told, str) and told.startswith("http") else babysitter_url(self.url)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def cache_type(self) -> str:
        told = self.metadata.get("cache_type")
        return told if isinstance(told, str) else ""

    def admitted(self) -> bool:
        """Whether the one who registered it lets it have requests."""
        return self.status == "running" and not self.drained


class Table(msgspec.Struct, frozen=True):
    """Every known instance, and of the candidates a pool a model."""

    targets: tuple[Target, ...] = ()
    candidates: frozenset[str] = frozenset()
    everyone: Pool = Pool()
    by_model: dict[str, Pool] = {}

    def pool(self, model: str | None) -> Pool | None:
        """The candidates for a model (None: any); None or an empty pool when there are none."""
        return self.everyone if model is None else self.by_model.get(model)

    def knows(self, model: str) -> bool:
        return any(model in t.models for t in self.targets)


def build(targets: Iterable[Target], well: Mapping[str, bool]) -> Table:
    """A table of `targets`; `well` is what the router itself last found out, and decides where it knows."""
    ordered = tuple(sorted(targets, key=lambda t: t.name))
    able = [t for t in ordered if t.admitted() and well.get(t.name, t.well is not False)]
    members = {t.name: Member(t.name, t.weight, t.cache_type, t) for t in able}
    models: dict[str, list[Member]] = {}
    for target in able:
        for model in target.models:
            models.setdefault(model, []).append(members[target.name])
    return Table(
        ordered,
        frozenset(members),
        Pool.of(members.values()),
        {model: Pool.of(found, model) for model, found in models.items()},
    )


def from_service(service: Service, static: bool = False) -> Target | None:
    """The instance that a registration describes; None for what is no instance (a babysitter) or has no usable URL."""
    if not static and not service.is_instance():
        return None
    try:
        parts = urlsplit(service.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    models = service.metadata.get("models")
    return Target(
        name=service.name,
        host=parts.hostname,
        port=port,
        url=service.url.rstrip("/"),
        secure=parts.scheme == "https",
        status=service.status,
        drained=service.drained,
        well={"healthy": True, "unhealthy": False}.get(service.health_status),
        static=static,
        models=tuple(m for m in models if isinstance(m, str)) if isinstance(models, list) else (),
        weight=max(0, service.weight),
        metadata=service.metadata,
    )
