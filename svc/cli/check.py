"""`svc check`: validate the TOML files of a site."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from svc.base.errors import ConfigError
from svc.cli.options import HERE, settings, tomls_argument
from svc.config.awake_rule_warnings import awake_rule_warnings
from svc.config.instance.gpu_shares import gpu_share_warnings
from svc.config.instance.growth_warnings import growth_warnings
from svc.config.instance.load import load
from svc.config.instance.local_paths import missing_paths
from svc.config.instance.model import InstanceConfig
from svc.config.instance.registry_use import registry_uses, use_line
from svc.config.instance.unusual_values import unusual_values
from svc.config.settings_file import load_awake_rules, load_settings
from svc.settings import RouterSettings, Settings
from svc.site.new_site import first_instance_command, require_site
from svc.terminal.output import echo

GPU_TIMEOUT_SECONDS = 5.0


@click.command("check")
@tomls_argument
def command(tomls: tuple[str, ...]) -> None:
    """Validate the TOML files.

    Reports every error of every file, and names and ports that collide. Because the files may be for
    another machine, there is only a warning if this machine lacks the path of a model, or if its GPUs
    cannot hold the [resources] of an instance, or of all instances together. Several instances of a
    model that its load cannot wake are a warning, and without TOML also rules of config/svc.toml that
    no instance can fulfil. Unless the instances use
    this site's registry alone, a line shows the registries that they use.
    """
    site_settings, problems = _settings()
    launch = site_settings.launch
    paths = HERE.tomls(tomls, launch.babysitter_configs)
    if not paths:
        require_site(HERE, launch)
    configs = _load(paths, site_settings, problems)
    for use in registry_uses(configs, site_settings):
        echo(use_line(use))
    warnings = [
        *_settings_warnings(site_settings.router),
        *(line for config in configs for line in _warnings(config)),
        *growth_warnings(configs),
        *gpu_share_warnings(configs, _gpu_memory(configs)),
        *(() if tomls else _rule_warnings(configs)),
    ]
    for line in warnings:
        echo(f"svc: warning: {line}", err=True)
    if not configs and launch.runs("babysitter"):
        echo(f"0 instances: only the registry and the router would run; to begin with one: {first_instance_command()}")
        return
    result = f"no errors, {_count(len(warnings), 'warning')}" if warnings else "all right"
    echo(f"{_count(len(configs), 'instance')}: {result}")


def _settings_warnings(router: RouterSettings) -> Iterator[str]:
    if router.keys_file and router.fair != "off":
        yield f'router.fair: "{router.fair}" has no effect beside keys_file; each key has a share'


def _warnings(config: InstanceConfig) -> Iterator[str]:
    yield from unusual_values(config)
    for line in missing_paths(config, HERE.root):
        yield f"{line}; correct it, unless the instance runs on another machine"


def _rule_warnings(configs: Sequence[InstanceConfig]) -> Iterator[str]:
    """Yield the warnings about rules for models on demand; none if this host has no instances."""
    if configs:
        rules = load_awake_rules(HERE.svc_toml)
        yield from (f"{HERE.svc_toml}: {line}" for line in awake_rule_warnings(rules, configs))


def _gpu_memory(configs: Sequence[InstanceConfig]) -> dict[int, int]:
    """Return the memory of each of this machine's GPUs; {} if no instance needs any, or if no vendor's tool answers."""
    if not any(config.resources for config in configs):
        return {}
    from svc.base.gpus.reading import read_gpus  # here, because few sites need it

    reading = read_gpus(GPU_TIMEOUT_SECONDS)
    return {gpu.index: gpu.memory_total for gpu in reading.gpus} if reading else {}


def _settings() -> tuple[Settings, Sequence[str]]:
    """Return the site's settings; if they are invalid, return defaults and the problems.

    With these defaults, the site runs neither registry nor router, because their ports are unknown.
    """
    try:
        return settings(check_rules=True), ()
    except ConfigError as error:
        return load_settings(flags={"launch": {"components": "babysitter"}}), error.problems


def _load(paths: Sequence[Path], site_settings: Settings, problems: Sequence[str]) -> list[InstanceConfig]:
    """Return the configuration in each file; raise ConfigError with `problems` and with every problem of the files."""
    try:
        configs = load(paths, site_settings)
    except ConfigError as error:
        raise ConfigError(*problems, *error.problems) from None
    if problems:
        raise ConfigError(*problems)
    return configs


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
