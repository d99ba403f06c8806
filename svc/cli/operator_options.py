"""The options for the router and an operator's key, which several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from svc.base.errors import CommandError
from svc.cli.options import complete_files, settings
from svc.client.router_operator import RouterOperator
from svc.site.access import operator_user
from svc.site.access import router_url as site_router_url


def router_operator(router_url: str | None, key_file: str | None) -> RouterOperator:
    """Return a client of the router that the options name, or else of the site's first router."""
    url = site_router_url(settings(launch={"router_url": router_url})).split(",")[0]
    headers = {"Authorization": f"Bearer {_read_key(key_file)}"} if key_file is not None else {}
    return RouterOperator(url, headers, operator_user())


def operator_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --key-file and --router-url, whose values are the arguments of `router_operator`."""
    function = click.option("--router-url", metavar="URL", help="the router  [ROUTER_URL; default: the site's]")(
        function
    )
    return click.option(
        "--key-file",
        metavar="FILE",
        help="file with an operator's key, if the router wants keys",
        shell_complete=complete_files,
    )(function)


def _read_key(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise CommandError(f"{file}: cannot read the key: {error.strerror}; correct --key-file") from None
