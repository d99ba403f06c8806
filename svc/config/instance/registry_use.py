"""Finds which registries a site's instances use, and because of which setting, for `svc check` and `svc plan`. Pure."""

import dataclasses
from collections.abc import Sequence

from svc.base.address import host_port
from svc.base.setting import rules_of
from svc.config.instance.model import InstanceConfig
from svc.settings import LaunchSettings, Settings

VARIABLES = {field.name: rules_of(field).variable for field in dataclasses.fields(LaunchSettings)}


@dataclasses.dataclass(frozen=True, slots=True)
class RegistryUse:
    """Instances that use the same registries for the same reason."""

    instances: list[str]
    urls: list[str]  # the registries, in the order in which they are tried
    setting: str  # setting under [launch] that contains `urls`; "" if they come from the TOML or the default
    unused: list[str]  # registries in the TOML that the setting replaces


def registry_uses(configs: Sequence[InstanceConfig], settings: Settings) -> list[RegistryUse]:
    """Return the uses of registries, without the usual case: instances that use only the site's own registry."""
    uses: dict[tuple[object, ...], RegistryUse] = {}
    for config in configs:
        if _uses_own_registry(config, settings):
            continue
        key = (config.registry_urls, config.registry_setting, config.unused_registry_urls)
        use = uses.setdefault(
            key,
            RegistryUse([], [*config.registry_urls], config.registry_setting, [*config.unused_registry_urls]),
        )
        use.instances.append(config.name)
    return list(uses.values())


def use_line(use: RegistryUse) -> str:
    """Return a line that describes a use of registries."""
    source = f" (by {use.setting} under [launch], or {VARIABLES[use.setting]}" if use.setting else ""
    if use.unused:
        source += f"; {', '.join(use.unused)} in the TOML is not used"
    return f"registry of {', '.join(use.instances)}: {', then '.join(use.urls)}{source}{')' if source else ''}"


def _uses_own_registry(config: InstanceConfig, settings: Settings) -> bool:
    own = ("localhost", settings.registry.port)
    is_own = settings.launch.runs("registry") and [*map(host_port, config.registry_urls)] == [own]
    return is_own and not config.unused_registry_urls
