"""The options for the router and an operator's key, which several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from svc.base.errors import CommandError
from svc.base.token_file import first_token
from svc.cli.options import complete_files, settings
from svc.client.router_operator import RouterOperator
from svc.protocol.event import OPERATOR_TOKEN_HEADER
from svc.site.access import operator_user
from svc.site.access import router_url as site_router_url


def router_operator(router_url: str | None, key_file: str | None, token_file: str | None = None) -> RouterOperator:
    """Return a client of the router that the options name, or else of the site's first router."""
    url = site_router_url(settings(launch={"router_url": router_url})).split(",")[0]
    return RouterOperator(url, operator_headers(key_file, token_file), operator_user())


def operator_headers(key_file: str | None, token_file: str | None) -> dict[str, str]:
    """Return the headers with the operator's key and the registry's token that are in these files, if they are given.

    Raise CommandError for a file that cannot be read.
    """
    headers = {}
    try:
        if key_file is not None:
            headers["Authorization"] = f"Bearer {Path(key_file).read_text(encoding='utf-8', errors='replace').strip()}"
        if token_file is not None:
            headers[OPERATOR_TOKEN_HEADER] = first_token(Path(token_file))
    except OSError as error:
        option = "--key-file" if error.filename == key_file else "--token-file"
        raise CommandError(f"{error.filename}: cannot read it: {error.strerror}; correct {option}") from None
    return headers


token_file_option = click.option(
    "--token-file",
    metavar="FILE",
    help="file with the registry's token, in place of an operator's key",
    shell_complete=complete_files,
)


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
