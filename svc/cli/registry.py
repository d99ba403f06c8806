"""`svc registry`: run the registry server."""

from typing import Any

import click

from svc.base import logging
from svc.cli.options import flags_of, settings
from svc.settings import RegistrySettings


@click.command("registry")
@flags_of(RegistrySettings)
def command(**flags: Any) -> None:
    """Run the registry in the foreground."""
    from svc.registry.serve import serve  # here, so that --help does not load the server

    logging.configure()
    serve(settings(registry=flags).registry)
