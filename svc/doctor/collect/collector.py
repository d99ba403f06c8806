"""Gathers the facts: what lies on disk and in this machine first, then everybody that can be asked, all at once."""

import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from svc.base import version
from svc.base.address import is_loopback
from svc.base.errors import SvcError
from svc.base.parallel import run_parallel
from svc.config import upstream_keys
from svc.config.instance.digest import digest
from svc.config.instance.model import InstanceConfig
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.config.upstream_keys import UpstreamKeys
from svc.doctor.collect import http_probes, machine, packages, rollouts, site_files, supervisord
from svc.doctor.facts import (
    API_KEYS,
    ENGINE_KEY,
    TOKEN,
    UPSTREAM_KEYS,
    Facts,
    Registry,
    Router,
    Secret,
    Sidecar,
    Supervisor,
    Unseen,
)
from svc.protocol.instance_names import instance_service
from svc.settings import Settings
from svc.site.components import Component, parse_components, rendered_files

NEAR = 8.0  # seconds that looks at this machine may take in all
FAR = 14.0  # and those at others
Begun = Callable[[list[str]], object]


def look(site: Site, environ: Mapping[str, str], model: str = "", begun: Begun | None = None) -> Facts:
    """Never raises for what is broken: what cannot be looked at is a fact too. Changes nothing."""
    unseen: list[Unseen] = []
    told = _settings(site, environ)
    found = run_parallel({"supervisord": lambda: supervisord.supervisor(site)}, NEAR, begun)
    supervisor = _taken(found, "supervisord", Supervisor(trouble="it does not answer in time"), unseen)
    own = supervisor.pid is not None and supervisord.runs_from(supervisor.pid, site.own_supervisord_conf)
    conf_d = site.own_conf_d if own else site.conf_d
    components = _parts(conf_d, unseen)
    configs = site_files.configs(site, told, conf_d)
    near = run_parallel(_near(site, told, supervisor, components, configs, own), NEAR, begun)
    started = _taken(near, "processes", cast("dict[int, str]", {}), unseen)
    left = machine.leftovers(started, supervisor.pid)
    far = run_parallel(_far(told, components, configs, _upstream_keys(site, told)), FAR, begun)
    logs = {name: machine.log_end(Path(p.logfile)) for name, p in supervisor.processes.items() if p.logfile}
    return Facts(
        now=time.time(),
        settings=told,
        files=_taken(near, "site files", site_files.NOTHING, unseen),
        supervisor=supervisor,
        components=components,
        configs=configs,
        digests={name: digest(config) for name, config in configs.items()},
        pending=_taken(near, "what runs", cast("list[str]", []), unseen),
        logs=logs,
        deaths=machine.deaths(machine.log_end(site.logs / "supervisord.log")),
        listeners=machine.listeners(started, {one.pid for one in left}),
        registries=[a for key, a in far.items() if key.startswith("registry ") and isinstance(a, Registry)],
        sidecars={key.removeprefix("babysitter "): a for key, a in far.items() if isinstance(a, Sidecar)},
        router=next((a for a in far.values() if isinstance(a, Router)), None),
        secrets=_taken(near, "tokens", cast("list[Secret]", []), unseen),
        disks=[d for key in ("var", "logs") if (d := _taken(near, key, None, unseen))],
        open=_taken(near, "open files", [], unseen),
        gpus=_taken(near, "GPUs", machine.Gpus(), unseen),
        names={key.removeprefix("name "): a for key, a in near.items() if isinstance(a, machine.Name)},
        leftovers=left,
        rollout=_taken(near, "rollout", None, unseen),
        code=version.installed(),
        dependencies=_taken(near, "packages", cast("list[str]", []), unseen),
        unseen=[*unseen, *(Unseen(key, _why(error)) for key, error in far.items() if isinstance(error, Exception))],
        model=model,
    )


def _settings(site: Site, environ: Mapping[str, str]) -> Settings:
    """What is wrong with them is told of with the other files."""
    for source, variables in ((site.svc_toml, environ), (site.svc_toml, None)):
        with suppress(SvcError):
            return load_settings(source, variables)
    return load_settings()


def _parts(conf_d: Path, unseen: list[Unseen]) -> list[Component]:
    found = []
    for path in rendered_files(conf_d):
        try:
            found += parse_components({path: path.read_text(encoding="utf-8")})
        except (OSError, ValueError) as error:
            unseen.append(Unseen(str(path), _why(error)))
        except SvcError as error:
            unseen.append(Unseen(str(path), error.message.removeprefix(f"{path}: ")))
    order = {"registry": 0, "router": 1}
    return sorted(found, key=lambda component: (order.get(component.kind, 2), component.name))


def _near(
    site: Site,
    told: Settings,
    supervisor: Supervisor,
    components: Iterable[Component],
    configs: Mapping[str, InstanceConfig],
    own: bool,
) -> dict[str, Callable[[], Any]]:
    pids = {name: process.pid for name, process in supervisor.processes.items() if process.pid}
    pids |= {"supervisord": supervisor.pid} if supervisor.pid else {}
    looks: dict[str, Callable[[], Any]] = {
        "what runs": lambda: site_files.pending(site, own) if supervisor.pid and supervisor.code else [],
        "site files": lambda: site_files.files(site, own),
        "processes": lambda: machine.processes_of(site.socket),
        "var": lambda: machine.disk(site.var),
        "logs": lambda: machine.disk(site.logs),
        "open files": lambda: list(machine.open_files(pids)),
        "GPUs": machine.gpus,
        "rollout": lambda: rollouts.rollout(site),
        "tokens": lambda: [machine.secret(path, use, kind) for path, use, kind in _secrets(site, told, configs)],
        "packages": lambda: list(packages.wanting()),
    }
    away = {urlsplit(url).hostname or "" for url in registries(told, components, configs)}
    hosts = {component.host for component in components if component.kind == "babysitter"} | away
    looks |= {f"name {one}": (lambda one=one: machine.name(one)) for one in sorted(hosts) if one}  # type: ignore[misc]
    return looks


def _upstream_keys(site: Site, told: Settings) -> UpstreamKeys | None:
    """The keys that the router here has; None where that cannot be told, and why is a fact of its own."""
    if not told.router.upstream_keys_file:
        return UpstreamKeys()
    with suppress(SvcError):
        return upstream_keys.load(site.root / told.router.upstream_keys_file)
    return None


def _far(
    told: Settings, components: list[Component], configs: Mapping[str, InstanceConfig], keys: UpstreamKeys | None
) -> dict[str, Callable[[], Any]]:
    instances = [component for component in components if component.kind == "babysitter"]
    looks: dict[str, Callable[[], Any]] = {}
    for url, here in registries(told, components, configs).items():
        # What speaks to it, and so needs a token that it takes.
        ours = [
            configs[component.name]
            for component in instances
            if component.name in configs and _speaks(component, configs[component.name], url)
        ]
        tokens = sorted({config.token_file for config in ours})
        names = [instance_service(config.name) for config in ours]
        read = told.registry.read_token_file or told.registry.token_file or told.router.registry_token_file
        read = read or next((token for token in tokens if token), "")
        looks[f"registry {url}"] = lambda url=url, here=here, read=read, tokens=tokens, names=names: (
            http_probes.registry(  # type: ignore[misc]
                url, here, read, tokens, names
            )
        )
    looks |= {
        f"babysitter {component.name}": functools.partial(http_probes.sidecar, component, keys)
        for component in instances
    }
    router = next((component for component in components if component.kind == "router"), None)
    url = router.own_url if router else told.launch.router_url or next((s.router_url for s in configs.values()), "")
    if url:
        looks["router"] = lambda: http_probes.router(url.rstrip("/"), router is not None)
    return looks


def registries(
    told: Settings, components: Iterable[Component], configs: Mapping[str, InstanceConfig]
) -> dict[str, bool]:
    """The registries that this site speaks to, and whether it runs them itself."""
    components = list(components)
    own = [component.own_url for component in components if component.kind == "registry"]
    named = [url for component in components for url in component.registry_url.split(",") if url]
    named += [
        url for component in components if component.name in configs for url in configs[component.name].registry_urls
    ]
    if not own and not named and told.launch.registry_url:
        named = told.launch.registry_url.split(",")
    found = {address(url): (url, True) for url in own}
    for url in named:
        found.setdefault(address(url), (url, False))
    return dict(found.values())


def address(url: str) -> tuple[str, int | None]:
    """What two URLs of one server have in common."""
    address = urlsplit(url)
    name = address.hostname or ""
    with suppress(ValueError):
        return ("localhost" if is_loopback(name) or name == "0.0.0.0" else name, address.port)
    return (name, None)


def _speaks(component: Component, config: InstanceConfig, url: str) -> bool:
    return address(url) in {address(one) for one in [*component.registry_url.split(","), *config.registry_urls]}


def _secrets(site: Site, told: Settings, configs: Mapping[str, InstanceConfig]) -> Iterator[tuple[Path, str, str]]:
    """Every file that holds a secret, the setting that names it, and what it holds: see Secret."""
    named = [
        (told.registry.token_file, "[registry] token_file"),
        (told.registry.read_token_file, "[registry] read_token_file"),
        (told.registry.store_password_file, "[registry] store_password_file"),
        (told.router.registry_token_file, "[router] registry_token_file"),
        *(
            (config.token_file, f"token_file of {os.path.relpath(config.source, site.root)}")
            for config in configs.values()
        ),
    ]
    keys = [
        (config.backend.api_key_file, f"[backend] api_key_file of {os.path.relpath(config.source, site.root)}")
        for config in configs.values()
    ]
    tables = [(told.router.upstream_keys_file, "[router] upstream_keys_file")]
    clients = [(told.router.keys_file, "[router] keys_file")]
    seen = set()
    for kind, files in ((TOKEN, named), (ENGINE_KEY, keys), (UPSTREAM_KEYS, tables), (API_KEYS, clients)):
        for name, use in files:
            if name and name not in seen:
                seen.add(name)
                yield site.root / name, use, kind


def _taken(found: Mapping[str, Any], key: str, default: Any, unseen: list[Unseen]) -> Any:
    """What a look found; where it failed, `default`, and why in `unseen`."""
    result = found.get(key, default)
    if isinstance(result, Exception):
        unseen.append(Unseen(key, _why(result)))
        return default
    return result


def _why(error: Exception) -> str:
    if isinstance(error, SvcError):
        return error.message
    return str(error) or type(error).__name__
