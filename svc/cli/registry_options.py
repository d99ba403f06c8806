"""The options for the registry's URL and token, which several commands share."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import click

from svc.cli.name_completers import services
from svc.cli.options import HERE, complete_files, settings
from svc.client.registry import RegistryClient
from svc.settings import Settings
from svc.site import access
from svc.site.registry_access import with_registries

names_argument = click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=services)
URL = "the registry, or several separated by commas  [REGISTRY_URL; default: the site's]"
TOKEN = "file with the registry's token, for one on another machine  [REGISTRY_TOKEN_FILE]"  # noqa: S105


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """The values of --registry-url and --token-file."""

    registry_url: str | None
    token_file: str | None

    def settings(self, router_url: str | None = None) -> Settings:
        """Return the site's settings, which these options override."""
        return settings(
            launch={"registry_url": self.registry_url, "router_url": router_url},
            registry={"token_file": self.token_file},
        )

    def site_settings(self, router_url: str | None = None) -> Settings:
        """Return `settings()`, with missing registries and a missing token file filled in from the site's files."""
        return with_registries(HERE, self.settings(router_url), settings())

    def client(self, read: bool = False) -> RegistryClient:
        """Return a client of the registry. With `read`, it uses the token in `read_token_file()`."""
        site_settings = self.site_settings()
        if not read:
            return access.registry_client(site_settings)
        token_file = self.read_token_file()
        registry = dataclasses.replace(site_settings.registry, token_file=token_file)
        return access.registry_client(dataclasses.replace(site_settings, registry=registry))

    def read_token_file(self) -> str:
        """Return the token file for reading: --token-file, or the first token file in the settings, or an empty text.

        The token file of another setting than read_token_file is skipped if this user may not read it, because most
        registries let any client read without a token.
        """
        own = self.settings()
        if named := self.token_file or own.registry.read_token_file:
            return named
        fallbacks = (own.registry.token_file, self.site_settings().registry.token_file, own.router.registry_token_file)
        return next((file for file in fallbacks if file and os.access(file, os.R_OK)), "")


def registry_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --registry-url and --token-file; the function gets their values as the argument `access`."""

    def run(registry_url: str | None, token_file: str | None, **more: Any) -> Any:
        return function(access=Access(registry_url, token_file), **more)

    run.__doc__, run.__name__ = function.__doc__, function.__name__
    # This attribute of a function contains the options that click's decorators have added so far.
    run.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    run = click.option("--token-file", metavar="FILE", help=TOKEN, shell_complete=complete_files)(run)
    return click.option("--registry-url", metavar="URL", help=URL)(run)
