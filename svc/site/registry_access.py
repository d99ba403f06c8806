"""The registries that a site's commands use, and the file with the token that they send.

A command uses the first of these registries that are given, and tries them one after the other:

1. The setting `registry_url` under [launch], from a flag, the environment or `config/svc.toml`.
2. The setting `registry_url` under [router].
3. The site's own registry.
4. The registries at which the site's instances register.

In cases 2 to 4, if an instance registers at one of these registries, all registries of the instance are added, because
registries of one instance share their services.

The token file is the setting `token_file` under [registry]. Without this setting, it is the token file of an instance
that registers at one of these registries.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from svc.base import procfs
from svc.base.address import host_port, split_urls
from svc.base.errors import CommandError
from svc.base.setting import UrlList
from svc.base.toml import parse_toml
from svc.config.instance.site_values import registries_of
from svc.config.site import Site
from svc.render.generate import earlier_sources
from svc.settings import Settings
from svc.site.access import own_registry_url, registry_url
from svc.site.components import Component, parse_components, rendered_files
from svc.supervision import supervisord_search


@dataclasses.dataclass(frozen=True, slots=True)
class RegistryUser:
    """The registries that a component uses, and the file with its write token; "" if it sends none."""

    registry_urls: tuple[str, ...]
    token_file: str = ""


def with_registries(site: Site, settings: Settings, site_settings: Settings | None = None) -> Settings:
    """Fill in the registries that the site's commands use, and the token file for these; return the settings.

    Registries and a token file that the settings contain already are kept. `site_settings` are the settings without the
    command's flags. They determine where instances register, so that a flag never causes an instance's token to be sent
    to another registry.
    """
    site_settings = site_settings or settings
    running = running_components(site)
    users = [RegistryUser(tuple(split_urls(component.registry_url))) for component in running or ()]
    users += _instances(site, site_settings)
    named = settings.launch.registry_url or settings.router.registry_url
    if settings.launch.registry_url:
        urls = split_urls(registry_url(settings))
    else:
        own = _own_registry(settings, running)
        urls = connected_registries(split_urls(named) or own, [user.registry_urls for user in users])
        urls = urls or [own_registry_url(settings)]
    site_registries = _own_registry(site_settings, running) or split_urls(site_settings.registry_url())
    token_file = settings.registry.token_file or _token_file(urls, users, site_registries)
    return dataclasses.replace(
        settings,
        launch=dataclasses.replace(settings.launch, registry_url=UrlList(",".join(urls))),
        registry=dataclasses.replace(settings.registry, token_file=token_file),
    )


def connected_registries(first: Sequence[str], lists: Iterable[Sequence[str]]) -> list[str]:
    """Return the registries in `first`, and all registries of each list that shares a registry with the result so far.

    If `first` is empty, begin with the first of the `lists`.
    """
    lists = [urls for urls in lists if urls]
    result = {host_port(url): url for url in first or next(iter(lists), ())}
    for urls in lists:
        if not result.keys().isdisjoint(map(host_port, urls)):
            for url in urls:
                result.setdefault(host_port(url), url)
    return list(result.values())


def running_components(site: Site) -> list[Component] | None:
    """Return the components in the conf.d directory of the running supervisord; None if no supervisord runs.

    Components of files that cannot be read or parsed are left out.
    """
    pid = supervisord_search.running_pid(site)
    if pid is None:
        return None
    arguments: Sequence[str] = ()
    with suppress(OSError):
        arguments = procfs.arguments(pid)
    conf_d = site.var_conf_d if str(site.var_supervisord_conf.absolute()) in arguments else site.conf_d
    components: list[Component] = []
    for path in rendered_files(conf_d):
        with suppress(OSError, ValueError, CommandError):
            components += parse_components({path: path.read_text(encoding="utf-8")})
    return components


def _own_registry(settings: Settings, running: list[Component] | None) -> list[str]:
    """Return a list with the URL of the site's own registry; [] if the site has no registry."""
    if running:
        return [component.own_url for component in running if component.kind == "registry"]
    return [own_registry_url(settings)] if settings.launch.runs("registry") else []


def _instances(site: Site, settings: Settings) -> Iterator[RegistryUser]:
    """Yield the registries and the token file in each TOML, even if other values in the TOML are invalid."""
    paths: list[Path] = []
    with suppress(CommandError):  # a file in BABYSITTER_CONFIGS does not exist
        paths += site.tomls((), settings.launch.babysitter_configs)
    for conf_d in (site.conf_d, site.var_conf_d):
        with suppress(OSError):  # this user may not read the directory
            paths += earlier_sources(site, conf_d)
    for path in {path.absolute(): path for path in paths}.values():
        with suppress(OSError, ValueError):
            document = parse_toml(path.read_bytes())
            token_file = document.get("token_file", "")
            yield RegistryUser(
                tuple(registries_of(document, settings)), token_file if isinstance(token_file, str) else ""
            )


def _token_file(urls: Sequence[str], users: Iterable[RegistryUser], site_registries: Sequence[str]) -> str:
    """Return the token file of the first instance that registers at one of these registries; "" if there is none.

    An instance without registries in its TOML registers at `site_registries`. If all registries are on this machine,
    files that this user may not read are left out, because such registries usually need no token.
    """
    addresses = set(map(host_port, urls))
    is_local = all(host == "localhost" for host, _ in addresses)
    for user in users:
        shares = not addresses.isdisjoint(map(host_port, user.registry_urls or site_registries))
        if user.token_file and shares and (not is_local or os.access(user.token_file, os.R_OK)):
            return user.token_file
    return ""
