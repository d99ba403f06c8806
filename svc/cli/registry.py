"""`svc registry`: run the registry server."""

from typing import Any

import click

from svc.base import logging, temporary_files
from svc.cli.options import HERE, flags_of, settings
from svc.settings import RegistrySettings


@click.command("registry")
@flags_of(RegistrySettings)
def command(**flags: Any) -> None:
    """Run the registry in the foreground."""
    from svc.registry.serve import serve  # here, so that --help does not load the server

    logging.configure()
    temporary_files.ensure_directory(HERE.var)  # gunicorn needs a directory for temporary files
    serve(settings(registry=flags).registry)
