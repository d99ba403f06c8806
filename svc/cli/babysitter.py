"""`svc babysitter`: run the babysitter of an instance that svc itself does not run."""

from pathlib import Path

import click

from svc.base import logging
from svc.cli.options import config_file_option, settings
from svc.config.instance.load import load_one


@click.command("babysitter")
@config_file_option
@click.option("--host", help="the address to register with  [BABYSITTER_HOST]")
@click.option(
    "--registry-url", help="the registry, or several separated by commas, instead of the file's  [REGISTRY_URL]"
)
@click.option("--router-url", help="the router, instead of the file's  [ROUTER_URL]")
def command(config_file: str, host: str | None, registry_url: str | None, router_url: str | None) -> None:
    """Run a babysitter alone, for an instance that svc does not run."""
    from svc.babysitter.serve import serve  # here, so that --help does not load the server

    logging.configure()
    flags = {"babysitter_host": host, "babysitter_registry_url": registry_url, "babysitter_router_url": router_url}
    serve(load_one(Path(config_file), settings(launch=flags)))
