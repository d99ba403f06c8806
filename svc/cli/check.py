"""`svc check`: validate the TOML files of a site."""

import click

from svc.cli.options import HERE, settings, tomls_argument
from svc.config.instance.load import load
from svc.terminal.output import echo


@click.command("check")
@tomls_argument
def command(tomls: tuple[str, ...]) -> None:
    """Validate the TOML files. Report every error of every file, and names and ports that collide."""
    site_settings = settings()
    configs = load(HERE.tomls(tomls, site_settings.launch.babysitter_configs), site_settings)
    echo(f"{len(configs)} instance{'s' if len(configs) != 1 else ''}: all right")
