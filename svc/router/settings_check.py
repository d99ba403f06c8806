"""Checks the router's settings before the router starts, and reads the files to which the settings refer."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from svc.base.errors import ConfigError
from svc.settings import RouterSettings

if TYPE_CHECKING:  # gunicorn's master does not need these modules, only the worker does
    from svc.base.secret_file import SecretFile
    from svc.config.upstream_keys import UpstreamKeys
    from svc.router.proxy.api_keys import ApiKey, ApiKeys


def check_settings(settings: RouterSettings) -> None:
    """Raise ConfigError for settings that cannot work, and for errors in the files to which the settings refer."""
    if not settings.registry_url and not settings.static_services:
        raise ConfigError("the router needs --registry-url, or --static-services, or both")
    from svc.config.upstream_keys import load
    from svc.perimeter.networks import parse_networks
    from svc.router.sources.static_services import read_static

    if settings.static_services:
        read_static(Path(settings.static_services))
    if settings.registry_token_file:
        _check_readable(settings.registry_token_file)
    parse_networks(settings.trusted_proxies, "trusted_proxies")
    parse_networks(settings.trusted_fronts, "trusted_fronts")
    parse_networks(settings.metrics_networks, "metrics_networks")
    read_keys(settings)
    if settings.upstream_keys_file:
        load(Path(settings.upstream_keys_file))
    tls_context(settings)
    _check_ca(settings)


def read_keys(settings: RouterSettings, make_key: "Callable[[str], ApiKey] | None" = None) -> "ApiKeys | None":
    """Return the API keys of clients; None if clients need none; raise ConfigError for errors in the file.

    `make_key` takes a name and returns a new key; None: make keys whose limits count the requests of this process only.
    """
    from svc.router.proxy.api_keys import ApiKey, ApiKeys

    if not settings.keys_file:
        return None
    keys = ApiKeys(Path(settings.keys_file), make_key or ApiKey)
    keys.load()
    return keys


def read_upstream_keys(settings: RouterSettings) -> "SecretFile[UpstreamKeys] | None":
    """Return the file of API keys for instances; None if there is none; raise ConfigError for errors in the file."""
    from svc.base.secret_file import SecretFile
    from svc.config.upstream_keys import SETTING, UpstreamKeys, parse

    if not settings.upstream_keys_file:
        return None
    file = SecretFile(Path(settings.upstream_keys_file), parse, SETTING, UpstreamKeys())
    file.load()
    return file


def tls_context(settings: RouterSettings) -> ssl.SSLContext | None:
    """Return the TLS context for clients' connections; None without a certificate; raise ConfigError for bad files."""
    if not settings.certfile and not settings.keyfile:
        return None
    if not settings.certfile or not settings.keyfile:
        raise ConfigError("certfile and keyfile go together: give both, or neither")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for path in (settings.certfile, settings.keyfile):
        _check_readable(path)
    try:
        context.load_cert_chain(settings.certfile, settings.keyfile, password="")  # with None, ssl would ask the user
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        raise ConfigError(
            f"certfile, keyfile: {settings.certfile} and {settings.keyfile} are no certificate (PEM) "
            f"and its unencrypted key: {reason}"
        ) from None
    return context


def _check_ca(settings: RouterSettings) -> None:
    """Raise ConfigError if the file of CA certificates cannot be read or contains no certificate."""
    if settings.upstream_ca:
        _check_readable(settings.upstream_ca)
        try:
            ssl.create_default_context(cafile=settings.upstream_ca)
        except ssl.SSLError:
            raise ConfigError(f"upstream_ca: {settings.upstream_ca}: no certificate (PEM) in it") from None


def _check_readable(path: str) -> None:
    """Raise ConfigError for a file that cannot be read: ssl does not report which of two files it failed to read."""
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read it: {error.strerror}") from None
