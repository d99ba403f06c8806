"""`svc router`: run the router server."""

from typing import Any

import click

from svc.base import logging, temporary_files
from svc.cli.options import HERE, flags_of, settings
from svc.settings import RouterSettings


@click.command("router")
@click.option("--fd", type=int, help="listen on this open socket instead (supervisord's, 0)")
@flags_of(RouterSettings, port=["--router-port"])
def command(fd: int | None, **flags: Any) -> None:
    """Run the router in the foreground.

    It is the OpenAI-compatible address that clients use. It needs a registry URL or a file of static
    services, or both.
    """
    from svc.router.serve import serve  # here, so that --help does not load the server

    logging.configure()
    temporary_files.ensure_directory(HERE.var)  # gunicorn needs a directory for temporary files
    serve(settings(router=flags).router, fd)
