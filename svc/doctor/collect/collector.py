"""Collects all facts: first the facts of this machine in parallel, then the responses of all servers in parallel."""

import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from svc.base import version
from svc.base.address import host_port, is_wildcard, split_urls
from svc.base.errors import SvcError
from svc.base.own_commands import pip_command
from svc.base.parallel import run_parallel
from svc.config import upstream_keys
from svc.config.instance.model import InstanceConfig
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.config.upstream_keys import UpstreamKeys
from svc.doctor.collect import gpu_facts, http_probes, machine_facts, site_files, supervisord_facts
from svc.doctor.facts import (
    API_KEYS,
    ENGINE_KEY,
    TOKEN,
    UPSTREAM_KEYS,
    Facts,
    HostName,
    InstanceProbe,
    PackageProblem,
    RegistryFacts,
    RouterFacts,
    SecretFileFacts,
    SiteFiles,
    SupervisordFacts,
    Uncollected,
)
from svc.doctor.machine_gpus import Gpus
from svc.protocol.instance_names import instance_service
from svc.settings import Settings
from svc.site import systemd_search
from svc.site.components import Component, find_router, parse_components, rendered_files
from svc.site.foreground_process import ForegroundProcess, foreground_process
from svc.supervision import supervisord_search
from svc.supervision.log_position import is_log_file

LOCAL_TIMEOUT_SECONDS = 8.0  # limit for all facts of this machine together
REMOTE_TIMEOUT_SECONDS = 14.0  # limit for all responses together

Collection = dict[str, Callable[[], Any]]  # subject -> function that collects its facts
Progress = Callable[[list[str]], object]  # receives the subjects that are not collected yet


def collect(site: Site, environ: Mapping[str, str], model: str = "", progress: Progress | None = None) -> Facts:
    """Return the facts; change nothing. Facts that cannot be collected are listed in the field `uncollected`."""
    uncollected: list[Uncollected] = []
    settings = _settings(site, environ)
    first = {"supervisord": lambda: supervisord_facts.supervisord(site)}
    results = run_parallel(first, LOCAL_TIMEOUT_SECONDS, progress)
    late = supervisord_facts.silent_supervisord(
        "it does not answer in time", supervisord_search.running_pid(site), is_late=True
    )
    supervisord: SupervisordFacts = _collected(results, "supervisord", late, uncollected)
    unit = systemd_search.find(site)
    own_conf = site.var_supervisord_conf
    from_var = supervisord.pid is not None and supervisord_facts.runs_from(supervisord.pid, own_conf)
    pid = supervisord.pid or supervisord.pid_without_socket
    foreground = foreground_process(site, pid, environ) if pid else None
    conf_d = site.var_conf_d if from_var else site.conf_d
    components = _components(conf_d, uncollected)
    configs = site_files.configs(site, settings, conf_d)
    local = run_parallel(
        _local(site, settings, supervisord, components, configs, from_var, foreground), LOCAL_TIMEOUT_SECONDS, progress
    )
    started = _collected(local, "processes", cast("dict[int, str]", {}), uncollected)
    leftovers = machine_facts.leftovers(started, supervisord.any_pid)
    keys = _upstream_keys(site, settings)
    remote = run_parallel(_remote(settings, components, configs, keys), REMOTE_TIMEOUT_SECONDS, progress)
    return Facts(
        now=time.time(),
        settings=settings,
        files=_collected(local, "site files", SiteFiles(), uncollected),
        supervisord=supervisord,
        unit=unit,
        unused_unit=None if unit or not supervisord.any_pid else systemd_search.installed_unit(site),
        components=components,
        configs=configs,
        digests={name: config.digest() for name, config in configs.items()},
        pending_changes=_collected(local, "what runs", cast("list[str]", []), uncollected),
        logs=machine_facts.current_logs(supervisord),
        earlier_logs=machine_facts.earlier_logs(supervisord),
        last_exits=machine_facts.last_exits(machine_facts.log_end(site.logs / "supervisord.log")),
        listeners=machine_facts.listeners(started, {leftover.pid for leftover in leftovers}),
        registries=[facts for facts in remote.values() if isinstance(facts, RegistryFacts)],
        instance_probes={
            key.removeprefix("babysitter "): probe for key, probe in remote.items() if isinstance(probe, InstanceProbe)
        },
        router=next((facts for facts in remote.values() if isinstance(facts, RouterFacts)), None),
        secrets=_collected(local, "tokens", cast("list[SecretFileFacts]", []), uncollected),
        disks=[disk for key in ("var", "logs") if (disk := _collected(local, key, None, uncollected))],
        open_files=_collected(local, "open files", [], uncollected),
        gpus=_collected(local, "GPUs", Gpus(), uncollected),
        host_names={key.removeprefix("name "): name for key, name in local.items() if isinstance(name, HostName)},
        leftovers=leftovers,
        rollout=_collected(local, "rollout", None, uncollected),
        svc_version=version.installed(),
        package_problems=_collected(local, "packages", cast("list[PackageProblem]", []), uncollected),
        pip=pip_command(),
        other_owner="" if os.geteuid() == 0 else supervisord_search.other_owner(site),
        sudo="" if os.geteuid() == 0 else "sudo ",
        uncollected=[
            *uncollected,
            *(Uncollected(key, _reason_of(error)) for key, error in remote.items() if isinstance(error, Exception)),
        ],
        model=model,
    )


def _settings(site: Site, environ: Mapping[str, str]) -> Settings:
    """Return the settings from file and environment, or from the file alone, or the defaults: the first that are valid.

    Errors are not lost, because they are among the facts about the site's files.
    """
    for source, variables in ((site.svc_toml, environ), (site.svc_toml, None)):
        with suppress(SvcError):
            return load_settings(source, variables, check_rules=False)
    return load_settings()


def _components(conf_d: Path, uncollected: list[Uncollected]) -> list[Component]:
    components = []
    for path in rendered_files(conf_d):
        try:
            components += parse_components({path: path.read_text(encoding="utf-8")})
        except (OSError, ValueError) as error:
            uncollected.append(Uncollected(str(path), _reason_of(error)))
        except SvcError as error:
            uncollected.append(Uncollected(str(path), error.message.removeprefix(f"{path}: ")))
    order = {"registry": 0, "router": 1}
    return sorted(components, key=lambda component: (order.get(component.kind, 2), component.name))


def _local(
    site: Site,
    settings: Settings,
    supervisord: SupervisordFacts,
    components: Iterable[Component],
    configs: Mapping[str, InstanceConfig],
    from_var: bool,
    foreground: ForegroundProcess | None,
) -> Collection:
    pids = {name: process.pid for name, process in supervisord.processes.items() if process.pid}
    pids |= {"supervisord": supervisord.pid} if supervisord.pid else {}
    has_log_files = all(is_log_file(process.logfile) for process in supervisord.processes.values())
    comparable = supervisord.pid and supervisord.svc_version
    collection: Collection = {
        "what runs": lambda: site_files.pending_changes(site, from_var) if comparable else [],
        "site files": lambda: site_files.files(site, from_var, foreground),
        "processes": lambda: machine_facts.processes_of(site.socket),
        "var": lambda: machine_facts.disk(site.var),
        "logs": lambda: machine_facts.disk(site.logs) if has_log_files else None,
        "open files": lambda: list(machine_facts.open_files(pids)),
        "GPUs": lambda: gpu_facts.gpus(site.var),
        "rollout": lambda: site_files.unfinished_rollout(site),
        "tokens": lambda: list(_secret_files(site, settings, supervisord, configs)),
        "packages": lambda: list(machine_facts.package_problems()),
    }
    registry_hosts = {urlsplit(url).hostname or "" for url in registry_urls(settings, components, configs)}
    instance_hosts = {component.host for component in components if component.kind == "babysitter"}
    hosts = registry_hosts | {host for host in instance_hosts if not is_wildcard(host)}
    collection |= {f"name {host}": functools.partial(machine_facts.host_name, host) for host in sorted(hosts) if host}
    return collection


def _upstream_keys(site: Site, settings: Settings) -> UpstreamKeys | None:
    """Return the upstream keys of the local router.

    Return None if the file is unreadable, which the check `secrets` reports.
    """
    if not settings.router.upstream_keys_file:
        return UpstreamKeys()
    with suppress(SvcError):
        return upstream_keys.load(site.root / settings.router.upstream_keys_file)
    return None


def _remote(
    settings: Settings, components: list[Component], configs: Mapping[str, InstanceConfig], keys: UpstreamKeys | None
) -> Collection:
    instances = [component for component in components if component.kind == "babysitter"]
    collection: Collection = {}
    for url, is_local in registry_urls(settings, components, configs).items():
        # The write tokens of the instances that register at this registry are tested.
        registering = [
            configs[instance.name]
            for instance in instances
            if instance.name in configs and _registers_at(url, instance, configs[instance.name])
        ]
        write_tokens = sorted({config.token_file for config in registering})
        read_tokens = [
            settings.registry.read_token_file,
            settings.registry.token_file,
            settings.router.registry_token_file,
            *write_tokens,
        ]
        read_token = next((token for token in read_tokens if token), "")
        names = [instance_service(config.name) for config in registering]
        collection[f"registry {url}"] = functools.partial(
            http_probes.registry, url, is_local, read_token, write_tokens, names
        )
    collection |= {
        f"babysitter {instance.name}": functools.partial(http_probes.instance, instance, keys) for instance in instances
    }
    router = find_router(components)
    configured = settings.launch.router_url or next((config.router_url for config in configs.values()), "")
    url = router.own_url if router else configured
    if url:
        collection["router"] = functools.partial(http_probes.router, url.rstrip("/"), router is not None)
    return collection


def registry_urls(
    settings: Settings, components: Iterable[Component], configs: Mapping[str, InstanceConfig]
) -> dict[str, bool]:
    """Return a dict from the URL of each registry that the site uses to whether the site itself runs this registry."""
    components = list(components)
    own = [component.own_url for component in components if component.kind == "registry"]
    used = [url for component in components for url in split_urls(component.registry_url)]
    used += [
        url for component in components if component.name in configs for url in configs[component.name].registry_urls
    ]
    if not own and not used and settings.launch.registry_url:
        used = split_urls(settings.launch.registry_url)
    by_address = {host_port(url): (url, True) for url in own}
    for url in used:
        by_address.setdefault(host_port(url), (url, False))
    return dict(by_address.values())


def _registers_at(url: str, component: Component, config: InstanceConfig) -> bool:
    urls = [*split_urls(component.registry_url), *config.registry_urls]
    return host_port(url) in set(map(host_port, urls))


def _secret_files(
    site: Site, settings: Settings, supervisord: SupervisordFacts, configs: Mapping[str, InstanceConfig]
) -> Iterator[SecretFileFacts]:
    reader = machine_facts.reader(supervisord, site.var)
    for path, setting, kind in _secrets(site, settings, configs):
        yield machine_facts.secret_file(path, setting, kind, reader)


def _secrets(site: Site, settings: Settings, configs: Mapping[str, InstanceConfig]) -> Iterator[tuple[Path, str, str]]:
    """Yield the path of each file with secrets, the setting that contains the path, and the kind of secret."""
    sources = {config.name: os.path.relpath(config.source, site.root) for config in configs.values()}
    tokens = [
        (settings.registry.token_file, "[registry] token_file"),
        (settings.registry.read_token_file, "[registry] read_token_file"),
        (settings.registry.store_password_file, "[registry] store_password_file"),
        (settings.router.registry_token_file, "[router] registry_token_file"),
        *((config.token_file, f"token_file of {sources[config.name]}") for config in configs.values()),
    ]
    engine_keys = [
        (config.backend.api_key_file, f"[backend] api_key_file of {sources[config.name]}")
        for config in configs.values()
    ]
    tables = [(settings.router.upstream_keys_file, "[router] upstream_keys_file")]
    clients = [(settings.router.keys_file, "[router] keys_file")]
    names = set()
    for kind, files in ((TOKEN, tokens), (ENGINE_KEY, engine_keys), (UPSTREAM_KEYS, tables), (API_KEYS, clients)):
        for name, setting in files:
            if name and name not in names:
                names.add(name)
                yield site.root / name, setting, kind


def _collected(results: Mapping[str, Any], key: str, default: Any, uncollected: list[Uncollected]) -> Any:
    """Return the facts of one subject; if there are none, append the reason to `uncollected` and return the default."""
    result = results.get(key, default)
    if isinstance(result, Exception):
        uncollected.append(Uncollected(key, _reason_of(result)))
        return default
    return result


def _reason_of(error: Exception) -> str:
    if isinstance(error, SvcError):
        return error.message
    return str(error) or type(error).__name__
