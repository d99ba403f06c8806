"""`svc run`: run one instance and its babysitter in the foreground."""

import os
from pathlib import Path

import click

from svc.base import temporary_files
from svc.cli.options import HERE, config_file_option, console, settings
from svc.site import single_instance


@click.command("run")
@config_file_option
def command(config_file: str) -> None:
    """Run one instance with its babysitter, without a site.

    Both run in the foreground. SIGTERM and Ctrl-C end both. The command exits with 1 when the instance
    is given up after max_restarts.
    """
    temporary_files.ensure_directory(HERE.var)
    single_instance.run(Path(config_file), settings(), os.environ, console())
