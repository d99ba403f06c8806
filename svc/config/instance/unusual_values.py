"""Warn of values in a babysitter TOML that are valid, but probably mistakes. Pure."""

from collections.abc import Iterator

from svc.base.address import is_wildcard
from svc.config.instance.model import InstanceConfig
from svc.protocol.service import AUTO_CONCURRENCY

ENGINES_WITHOUT_LOAD = frozenset(("infinilm", "infinilm-rust"))  # svc finds no load in their /metrics


def unusual_values(config: InstanceConfig) -> Iterator[str]:
    """Yield a warning for each such value. Like an error message, the warning begins with the file and the key."""
    if is_wildcard(config.host):
        yield f"{config.source}: {wildcard_warning(config.host)}"
    if config.metadata.get("max_concurrency") == AUTO_CONCURRENCY and (reason := _reports_no_load(config)):
        yield (
            f'{config.source}: metadata.max_concurrency: "auto" sets no limit here, because {reason}; '
            "write a number, or remove it"
        )


def _reports_no_load(config: InstanceConfig) -> str:
    """Return why routers never get the load of the instance's engine; "" if they may get it."""
    if not config.load_interval:
        return "with load_interval = 0 its babysitter reports no load"
    if not config.registry_urls:
        return "without a registry its babysitter reports no load"
    engine = config.backend.type
    return f"a backend of type {engine} reports no load" if engine in ENGINES_WITHOUT_LOAD else ""


def wildcard_warning(host: str) -> str:
    """Return the warning for an instance whose host is a wildcard address, such as 0.0.0.0."""
    return (
        f"host: {host!r} is for listening: the instance registers with the address of this machine towards its "
        "registry; give that address here or in BABYSITTER_HOST to choose it"
    )
