"""How an operator's command gets at the registry and the router: where they are, with which token."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import click

from svc import settings as s
from svc.base.errors import CommandError, Forbidden, NotFound, Unauthorized, Unavailable
from svc.cli.options import settings
from svc.client.registry import RegistryClient
from svc.site.components import Part

URL = "the registry, or several separated by commas  [REGISTRY_URL; default: the site's]"
TOKEN = "file with the registry's token, for one on another machine  [REGISTRY_TOKEN_FILE]"  # noqa: S105


class Away(CommandError):
    """No registry answers."""


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """What the options say; `read` clients make do with the token that reads need."""

    registry_url: str | None
    token_file: str | None

    def client(self, read: bool = False) -> RegistryClient:
        told = self._told()
        token = told.registry.read_token_file if read and not self.token_file else ""
        return RegistryClient(registry_of(told).split(","), token or told.registry.token_file)

    def _told(self) -> s.Settings:
        return settings(launch={"registry_url": self.registry_url}, registry={"token_file": self.token_file})


def registry_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--registry-url and --token-file; the function gets an `access`."""

    def run(registry_url: str | None, token_file: str | None, **more: Any) -> Any:
        return function(access=Access(registry_url, token_file), **more)

    run.__doc__, run.__name__ = function.__doc__, function.__name__
    run.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    run = click.option("--token-file", metavar="FILE", help=TOKEN)(run)
    return click.option("--registry-url", metavar="URL", help=URL)(run)


def registry_of(told: s.Settings) -> str:
    """The registry that was told, else the one of this site."""
    here = Part("registry", "registry", told.registry.host, (told.registry.port,), ())
    return checked(told.launch.registry_url or told.router.registry_url or here.own_url, "registry", 18000)


def router_of(told: s.Settings) -> str:
    here = Part("router", "router", told.router.host, (told.router.port,), (), secure=bool(told.router.certfile))
    return checked(told.launch.router_url or here.own_url, "router", 8000)


def checked(urls: str, what: str, port: int) -> str:
    """URLs separated by commas, without slashes at their ends; raises CommandError for what is none."""
    found = [url.strip() for url in urls.split(",") if url.strip()]
    for url in found:
        if not _is_url(url):
            raise CommandError(f"{url!r} is no URL of a {what}; write it as http://HOST:{port}")
    return ",".join(url.rstrip("/") for url in found)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of its port
        return False


@contextmanager
def explained(what: str, client: RegistryClient, lacking: str = "") -> Iterator[None]:
    """A refusal, or that nobody answers, with the cure; `lacking` says what an URL is that has nothing of the kind."""
    try:
        yield
    except Unauthorized as error:
        cure = "give the registry's token with --token-file, or REGISTRY_TOKEN_FILE"
        if client.token_file:
            cure = f"{client.token_file} was shown: is its token this registry's?"
        raise CommandError(f"cannot {what}: {error.message}; {cure}") from None
    except Forbidden as error:
        cure = "" if client.token_file else "; --token-file, or REGISTRY_TOKEN_FILE, names the token's file"
        raise CommandError(f"cannot {what}: {error.message}{cure}") from None
    except NotFound:
        if not lacking:
            raise
        raise CommandError(
            f"cannot {what}: {client.urls[0]} {lacking}; give the registry's address with --registry-url"
        ) from None
    except Unavailable as error:
        raise Away(f"cannot {what}: {error.message}; give its address with --registry-url") from None
