"""Warn of values in a babysitter TOML that are valid, but probably mistakes. Pure."""

from collections.abc import Iterator

from svc.base.address import is_wildcard
from svc.config.instance.model import InstanceConfig


def unusual_values(config: InstanceConfig) -> Iterator[str]:
    """Yield a warning for each such value. Like an error message, the warning begins with the file and the key."""
    if is_wildcard(config.host):
        yield f"{config.source}: {wildcard_warning(config.host)}"


def wildcard_warning(host: str) -> str:
    """Return the warning for an instance whose host is a wildcard address, such as 0.0.0.0."""
    return (
        f"host: {host!r} is for listening: the instance registers with the address of this machine towards its "
        "registry; give that address here or in BABYSITTER_HOST to choose it"
    )
