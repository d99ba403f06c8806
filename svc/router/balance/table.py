"""The instances that the router knows, as one immutable snapshot: pure."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from svc.base.address import authority
from svc.protocol.service import Service, babysitter_url, models_of, named_babysitter
from svc.protocol.service_url import is_service_url, parse_service_url
from svc.router.balance.policy import Member, Pool

RETURNING = ("starting", "stopping", "draining")  # states of an instance that will be back


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One instance: where it is, what it serves, and what the registry says of it."""

    name: str
    host: str
    port: int
    url: str
    secure: bool = False
    status: str = "running"
    drained: bool = False
    well: bool | None = None  # the registry's word: None when it has none
    heard: bool = True  # within its lease
    registered: str = ""  # when it registered itself, as the registry tells it
    static: bool = False
    discovers_models: bool = False  # the router takes the models of a static service from its own list
    has_babysitter: bool = True  # of a static service, known only once one has answered
    models: tuple[str, ...] = ()
    weight: int = 1
    metadata: dict[str, Any] = {}
    authority: bytes = b""  # host and port, worked out once
    address: tuple[str, int, bool] = ("", 0, False)  # what connections are kept by
    limit: int = 0  # the requests it may have at once; 0: as many as come
    key: str = ""  # the API key that it wants of the router; secret
    hides_credentials: bool = False  # whether clients' credentials are withheld although it has no key
    authorization: bytes | None = None  # the line that replaces clients' credentials; None: they pass

    def __post_init__(self) -> None:
        force = msgspec.structs.force_setattr
        force(self, "authority", authority(self.host, self.port).encode())
        force(self, "address", (self.host, self.port, self.secure))
        withheld = b"" if self.hides_credentials else None
        force(self, "authorization", b"\r\nAuthorization: Bearer %b" % self.key.encode() if self.key else withheld)
        told = self.metadata.get("max_concurrency")
        force(self, "limit", told if isinstance(told, int) and told > 0 and not isinstance(told, bool) else 0)

    def __repr__(self) -> str:
        return f"<Target {self.name}>"  # the fields hold a secret

    def with_key(self, key: str, hides_credentials: bool = False) -> "Target":
        """Return the instance with this API key, itself where it has it."""
        if (key, hides_credentials) == (self.key, self.hides_credentials):
            return self
        return msgspec.structs.replace(self, key=key, hides_credentials=hides_credentials)

    def key_for(self, url: str) -> str:
        """Return its API key where the URL is its own; nothing for another server: a babysitter, say."""
        try:
            return self.key if self.key and endpoint(url) == self.address else ""
        except ValueError:
            return ""

    @property
    def babysitter_url(self) -> str | None:
        """Where its babysitter answers; None for a static service that has none."""
        return self.named_babysitter or (babysitter_url(self.url) if self.has_babysitter else None)

    @property
    def named_babysitter(self) -> str | None:
        """The babysitter that the metadata names."""
        return named_babysitter(self.metadata)

    @property
    def health_url(self) -> str | None:
        """The URL of its health that the metadata names."""
        named = self.metadata.get("health_url")
        return named if isinstance(named, str) and is_service_url(named) else None

    @property
    def cache_type(self) -> str:
        told = self.metadata.get("cache_type")
        return told if isinstance(told, str) else ""

    def admitted(self) -> bool:
        """Whether the one who registered it lets it have requests."""
        return self.status == "running" and not self.drained


class Discovery(msgspec.Struct, frozen=True):
    """What the router's checks have discovered of a static service."""

    babysitter: bool = False  # one answers on the next port
    models: tuple[dict[str, Any], ...] | None = None  # as it lists them; None: it lists none, or its file names them

    def of(self, target: Target) -> Target:
        """Return the target with what was discovered."""
        if self.models is None:
            return msgspec.structs.replace(target, has_babysitter=self.babysitter)
        names = [model["id"] for model in self.models]
        metadata = {**target.metadata, "models": names, "models_list": list(self.models)}
        return msgspec.structs.replace(target, has_babysitter=self.babysitter, models=tuple(names), metadata=metadata)


class Origin(msgspec.Struct, frozen=True):
    """Where a table is from, and how old it is."""

    source: str  # registry | saved | static
    seen: float | None = None  # when a registry last said that it is so
    registry: str = ""
    index: int | None = None  # that registry's revision


class Table(msgspec.Struct, frozen=True):
    """Every known instance, and of the candidates a pool a model."""

    targets: tuple[Target, ...] = ()
    candidates: frozenset[str] = frozenset()
    everyone: Pool = Pool()
    by_model: dict[str, Pool] = {}
    returning: frozenset[str] = frozenset()  # models whose instances are all on their way back
    models: frozenset[str] = frozenset()  # that somebody has, whether or not it may be asked

    def pool(self, model: str | None) -> Pool | None:
        """The candidates for a model (None: any); None or an empty pool when there are none."""
        return self.everyone if model is None else self.by_model.get(model)

    def serves(self, model: str | None) -> bool:
        pool = self.pool(model)
        return pool is not None and bool(pool.members)


def build(targets: Iterable[Target], fit: Callable[[Target], bool]) -> Table:
    """A table of `targets`, in which the unfit get nothing; where a model has only unfit ones, they are tried all the
    same: when everything looks broken, the looking may be (Envoy's panic threshold)."""
    ordered = tuple(sorted(targets, key=lambda t: t.name))
    admitted = [t for t in ordered if t.admitted()]
    able = frozenset(t.name for t in admitted if fit(t))
    members = {t.name: Member(t.name, t.weight, t.cache_type, t) for t in admitted}
    models: dict[str, list[Member]] = {}
    for target in admitted:
        for model in target.models:
            models.setdefault(model, []).append(members[target.name])
    returning = {m for t in ordered if t.status in RETURNING and not t.drained for m in t.models}
    return Table(
        ordered,
        able,
        Pool.of(_able(list(members.values()), able)),
        {model: Pool.of(_able(found, able), model) for model, found in models.items()},
        frozenset(returning - set(models)),
        frozenset(model for target in ordered for model in target.models),
    )


def _able(members: list[Member], able: frozenset[str]) -> list[Member]:
    return [m for m in members if m.name in able] or members


def endpoint(url: str) -> tuple[str, int, bool]:
    """Return host, port and whether it is https; raises ValueError for a URL that is not a service's."""
    service_url = parse_service_url(url)
    return service_url.host.lower(), service_url.port, service_url.scheme == "https"


def from_service(service: Service, static: bool = False, heard: bool = True) -> Target | None:
    """The instance that a registration describes; None for what is no instance (a babysitter) or has no usable URL.

    `heard`: its lease has not expired.
    """
    if not static and not service.is_instance():
        return None
    try:
        host, port, secure = endpoint(service.url)
    except ValueError:
        return None
    return Target(
        name=service.name,
        host=host,
        port=port,
        url=service.url.rstrip("/"),
        secure=secure,
        status=service.status,
        drained=service.drained,
        well={"healthy": True, "unhealthy": False}.get(service.health_status) if heard else False,
        heard=heard,
        registered=service.timestamp,
        static=static,
        models=tuple(models_of(service.metadata)),
        weight=max(0, service.weight),
        metadata=service.metadata,
    )
