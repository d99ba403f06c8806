"""The URLs of registry and router in the settings, a client of the registry, and its errors with their cures.

`registry_access` puts the registries that a site's commands use into these settings.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from svc.base.address import split_urls
from svc.base.errors import CommandError, Forbidden, NotFound, Unauthorized, Unavailable
from svc.client.registry import RegistryClient, RegistryFailed
from svc.protocol.event import OPERATOR_USER_HEADER
from svc.settings import Settings
from svc.site.components import Component


class RegistryUnreachable(CommandError):
    """No registry answers, or each one that answers reports a failure of its own."""


def registry_client(settings: Settings, token_file: str = "") -> RegistryClient:
    """Return a client of the registry.

    It sends the token in `token_file`, or in the settings' token file if that is "".
    """
    urls, token_file = split_urls(registry_url(settings)), token_file or settings.registry.token_file
    return RegistryClient(urls, token_file, headers={OPERATOR_USER_HEADER: operator_user()})


def operator_user() -> str:
    """Return the user who runs this command, or who called sudo for it, in characters that a header can contain."""
    sudo_user = os.environ.get("SUDO_USER", "") if os.geteuid() == 0 else ""
    try:
        name = sudo_user or pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # no such user in /etc/passwd, as in some containers
        name = f"uid-{os.geteuid()}"
    return "".join(character if character.isascii() and character.isprintable() else "_" for character in name)


def registry_url(settings: Settings) -> str:
    """Return the comma-separated registry URLs in the settings, else the URL of this site's registry."""
    urls = settings.launch.registry_url or settings.router.registry_url or own_registry_url(settings)
    return checked_urls(urls, "registry", 18000)


def own_registry_url(settings: Settings) -> str:
    """Return the URL at which this machine reaches the site's own registry."""
    return Component("registry", "registry", settings.registry.host, (settings.registry.port,), ()).own_url


def router_url(settings: Settings) -> str:
    """Return the comma-separated router URLs in the settings, else the URL of this site's router."""
    local = Component(
        "router", "router", settings.router.host, (settings.router.port,), (), certfile=settings.router.certfile
    )
    return checked_urls(settings.launch.router_url or local.own_url, "router", 8000)


def checked_urls(urls: str, server: str, port: int) -> str:
    """Return the comma-separated URLs without trailing slashes; raise CommandError for an invalid URL."""
    candidates = split_urls(urls)
    for url in candidates:
        if not _is_url(url):
            raise CommandError(f"{url!r} is no URL of a {server}; write it as http://HOST:{port}")
    return ",".join(candidates)


def _is_url(text: str) -> bool:
    try:
        address = urlsplit(text)
        return address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:  # the port is not a number
        return False


@contextmanager
def explaining_errors(action: str, client: RegistryClient, not_found: str = "") -> Iterator[None]:
    """Raise CommandError with the cure if the registry refuses a request or does not answer.

    `not_found` is the error text for a 404 response. If it is empty, NotFound passes unchanged.
    """
    try:
        yield
    except Unauthorized as error:
        cure = (
            "give the registry's token with --token-file or REGISTRY_TOKEN_FILE, or name its file in config/svc.toml: "
            "token_file under [registry]"
        )
        if client.token_file:
            cure = f"{client.token_file} was shown: is its token this registry's?"
        raise CommandError(f"cannot {action}: {error.message}; {cure}") from None
    except Forbidden as error:
        cure = "" if client.token_file else "; --token-file, or REGISTRY_TOKEN_FILE, names the token's file"
        raise CommandError(f"cannot {action}: {error.message}{cure}") from None
    except NotFound:
        if not not_found:
            raise
        raise CommandError(
            f"cannot {action}: {client.urls[0]} {not_found}; give the registry's address with --registry-url"
        ) from None
    except RegistryFailed as error:
        raise RegistryUnreachable(f"cannot {action}: {error.message}") from None
    except Unavailable as error:
        raise RegistryUnreachable(f"cannot {action}: {error.message}; give its address with --registry-url") from None
