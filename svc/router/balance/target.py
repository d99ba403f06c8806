"""One instance as the router knows it, created from a registration or an entry in the static services file. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from svc.base.address import authority
from svc.protocol.event import one_line
from svc.protocol.service import AUTO_CONCURRENCY, CONTINUES, Service, babysitter_of, models_of, named_babysitter
from svc.protocol.service_url import is_service_url, parse_service_url

DEFAULT_WAKE_TIMEOUT, MAX_WAKE_TIMEOUT = 600.0, 86_400.0  # seconds, for registrations without a usable value

MAX_REASON_CHARS = 300  # limit for the reason in a registration, as errors show it


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One instance: its address, its models, and its state in the registry."""

    name: str
    host: str
    port: int
    url: str
    secure: bool = False
    status: str = "running"
    drained: bool = False
    handover: bool = False  # whether it is drained, and those of its streams that can be continued move to others
    # In the file of a saved table (format "svc router table 1"), this field and the next have other names.
    healthy: bool | None = msgspec.field(default=None, name="well")  # according to the registry; None: not checked
    lease_valid: bool = msgspec.field(default=True, name="heard")
    registered: str = ""  # when the instance registered, as the registry reports it
    static: bool = False
    discovers_models: bool = False  # the models of this static service are read from the service's own list
    has_babysitter: bool = True  # for a static service, False until a babysitter has answered
    models: tuple[str, ...] = ()
    weight: int = 1
    metadata: dict[str, Any] = {}
    authority: bytes = b""  # host and port, computed once
    address: tuple[str, int, bool] = ("", 0, False)  # the key of the instance's connections in the pool
    limit: int = 0  # the maximum number of its requests in flight; 0: unlimited, or adaptive
    has_adaptive_limit: bool = False  # whether the limit follows from what the engine reports
    key: str = ""  # the API key that the instance requires of the router; secret
    hides_credentials: bool = False  # whether clients' credentials are withheld although `key` is empty
    authorization: bytes | None = None  # the header line that replaces clients' credentials; None: they are passed on

    def __post_init__(self) -> None:
        force = msgspec.structs.force_setattr
        force(self, "authority", authority(self.host, self.port).encode())
        force(self, "address", (self.host, self.port, self.secure))
        withheld = b"" if self.hides_credentials else None
        force(self, "authorization", b"\r\nAuthorization: Bearer %b" % self.key.encode() if self.key else withheld)
        limit = self.metadata.get("max_concurrency")
        force(self, "limit", limit if isinstance(limit, int) and limit > 0 and not isinstance(limit, bool) else 0)
        force(self, "has_adaptive_limit", limit == AUTO_CONCURRENCY)

    def __repr__(self) -> str:
        return f"<Target {self.name}>"  # does not show the fields, because `key` is a secret

    def with_key(self, key: str, hides_credentials: bool = False) -> "Target":
        """Return the instance with this API key; return this very object if nothing changes."""
        if (key, hides_credentials) == (self.key, self.hides_credentials):
            return self
        return msgspec.structs.replace(self, key=key, hides_credentials=hides_credentials)

    def key_for(self, url: str) -> str:
        """Return the instance's API key if the URL is the instance's own; empty for other servers (babysitters)."""
        try:
            return self.key if self.key and endpoint(url) == self.address else ""
        except ValueError:
            return ""

    def key_for_host(self, url: str) -> str:
        """Return the instance's API key if the URL is on the instance's own host, such as that of its babysitter.

        Return "" for other hosts, and for a URL without TLS if the instance's own URL has TLS.
        """
        try:
            host, _, secure = endpoint(url)
        except ValueError:
            return ""
        return self.key if host == self.host.lower() and secure >= self.secure else ""

    @property
    def babysitter_url(self) -> str | None:
        """The URL of the instance's babysitter; None for a static service that has none."""
        return babysitter_of(self.url, self.metadata) if self.has_babysitter else self.named_babysitter

    @property
    def named_babysitter(self) -> str | None:
        """The URL of the babysitter in the metadata; None if there is none."""
        return named_babysitter(self.metadata)

    @property
    def health_url(self) -> str | None:
        """The URL of the health endpoint in the metadata; None if there is none."""
        url = self.metadata.get("health_url")
        return url if isinstance(url, str) and is_service_url(url) else None

    @property
    def cache_type(self) -> str:
        cache_type = self.metadata.get("cache_type")
        return cache_type if isinstance(cache_type, str) else ""

    @property
    def is_on_demand(self) -> bool:
        """Whether the instance sleeps while no request needs it, and its babysitter wakes it."""
        return self.metadata.get("on_demand") is True

    @property
    def wake_timeout(self) -> float:
        """The seconds that a request may wait until the on-demand instance is awake."""
        seconds = self.metadata.get("wake_timeout")
        if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 < seconds <= MAX_WAKE_TIMEOUT:
            return float(seconds)
        return DEFAULT_WAKE_TIMEOUT

    @property
    def restart_reason(self) -> str:
        """Why its last process ended, as one short line; empty if it has not been restarted."""
        reason = self.metadata.get("restart_reason")
        return one_line(reason[: 4 * MAX_REASON_CHARS])[:MAX_REASON_CHARS] if isinstance(reason, str) else ""

    def accepts_requests(self) -> bool:
        """Return whether the registration allows requests: the instance runs and is not drained."""
        return self.status == "running" and not self.drained

    def continues(self, proof: str) -> bool:
        """Return whether the engine is proven to continue answers.

        `proof`: the key in the metadata that says so, CONTINUES or CONTINUES_MESSAGES.
        """
        return self.metadata.get(proof) is True

    def is_restart_of(self, before: "Target") -> bool:
        """Return whether the instance has restarted, moved, returned or got another key since its state `before`.

        If so, its earlier failures no longer count. A babysitter also registers the same process again when its engine
        is proven to continue answers; this does not count as a restart.
        """
        renewed = self.lease_valid and not before.lease_valid
        is_proven = self.continues(CONTINUES) and not before.continues(CONTINUES)
        registered_again = self.registered != before.registered and not is_proven
        return renewed or registered_again or self.key != before.key or self.has_lost_memory_since(before)

    def has_lost_memory_since(self, before: "Target") -> bool:
        """Return whether the instance has restarted or moved since its state `before`.

        A renewed lease or a later time of registration does not prove a restart: a babysitter also registers again when
        the registry has lost its data, or when the engine loads an adapter.
        """
        return self.url != before.url or (self.status == "running" and before.status != "running")


class Discovery(msgspec.Struct, frozen=True):
    """The properties of a static service that the router's checks have discovered."""

    babysitter: bool = False  # whether a babysitter answers on the port after the service's
    # The models that the service lists. None: the service has no list, or the file has the models.
    models: tuple[dict[str, Any], ...] | None = None

    def applied_to(self, target: Target) -> Target:
        """Return the target with the discovered babysitter and models."""
        if self.models is None:
            return msgspec.structs.replace(target, has_babysitter=self.babysitter)
        names = [model["id"] for model in self.models]
        metadata = {**target.metadata, "models": names, "models_list": list(self.models)}
        return msgspec.structs.replace(target, has_babysitter=self.babysitter, models=tuple(names), metadata=metadata)


NO_DISCOVERY = Discovery()


def with_lost_memory(before: Iterable[Target], after: Iterable[Target]) -> set[str]:
    """Return the names of the instances that have left, restarted or moved: what they kept in memory is lost."""
    present = {target.name: target for target in after}
    lost = (t for t in before if t.name not in present or present[t.name].has_lost_memory_since(t))
    return {target.name for target in lost}


def endpoint(url: str) -> tuple[str, int, bool]:
    """Return the host, the port and whether the scheme is https; raise ValueError if the URL is not a service URL."""
    service_url = parse_service_url(url)
    return service_url.host.lower(), service_url.port, service_url.scheme == "https"


def from_service(service: Service, static: bool = False, lease_valid: bool = True) -> Target | None:
    """Return the instance that a registration describes.

    Return None for the registration of anything else (a babysitter), and for one without a usable URL.
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
        handover=service.drained and service.handover,
        healthy={"healthy": True, "unhealthy": False}.get(service.health_status) if lease_valid else False,
        lease_valid=lease_valid,
        registered=service.timestamp,
        static=static,
        models=tuple(models_of(service.metadata)),
        weight=max(0, service.weight),
        metadata=service.metadata,
    )
