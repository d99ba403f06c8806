"""Checks that the ports of a site are free, before anything is started or changed."""

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from svc.base import procfs
from svc.base.errors import ConfigError, SvcError
from svc.base.file_owner import user_name
from svc.base.own_commands import in_directory
from svc.site.components import Component, read_components
from svc.supervision.client import Process, SupervisordClient
from svc.supervision.launch import holder_of, is_taken
from svc.supervision.supervisord_search import configuration_of, site_of


def refuse_taken(
    components: Iterable[Component], supervisord: SupervisordClient | None = None, touched: Collection[str] = ()
) -> None:
    """Raise ConfigError with a line for each port on which a program outside this site listens.

    Only components that do not run, or that will be restarted (those in `touched`), are checked. The check matters
    most for the router, because supervisord itself exits if it cannot bind the router's address.
    """
    processes = supervisord.processes() if supervisord else {}
    ours = {process.pid for process in processes.values() if process.pid}
    if supervisord:
        ours.add(supervisord.pid())
    problems = [
        f"{component.name}: port {port} is taken by {holder}, or choose another port"
        for component in components
        if component.name in touched or not is_running(component, processes)
        for port in component.ports
        if (holder := _other_holder(port, ours, component.listens_on_ipv6))
    ]
    if problems:
        raise ConfigError(*problems)


def hidden_holder(port: int) -> str:
    """Return a text about the running svc site whose files contain the port; "" if no site is found.

    The files are searched because only a process's own user can see on which ports the process listens.
    """
    for pid in procfs.process_ids():
        site = site_of(pid) if configuration_of(pid) else None
        if site is not None and _names_port(site, port):
            with suppress(OSError):  # supervisord has ended
                return f"the svc site in {site} (user {user_name(procfs.owner(pid))}, pid {pid})"
    return ""


def _names_port(site: Path, port: int) -> bool:
    try:
        components = [*read_components(site / "conf.d"), *read_components(site / "var" / "conf.d")]
    except (OSError, SvcError, ValueError):
        return False
    return any(port in component.ports for component in components)


def is_running(component: Component, processes: Mapping[str, Process]) -> bool:
    return all(name in processes and processes[name].state == "RUNNING" for name in component.programs)


def _other_holder(port: int, ours: Collection[int], ipv6: bool) -> str:
    """Return a text about the process that listens on the port, and how to stop it.

    The text is empty if the port is free, or if the process or one of its ancestors has a pid in `ours`. `ipv6` means
    that the port is needed on an IPv6 address.
    """
    if not is_taken(port, ipv6):
        return ""
    holder = holder_of(port)
    if holder is None:
        return f"{hidden_holder(port) or 'another program'}; stop it"
    pid, command = holder
    if any(ancestor in ours for ancestor in procfs.ancestors(pid)):
        return ""
    if site := site_of(pid):
        return f"the svc site in {site} (pid {pid}); stop that with `{in_directory(site, 'down')}`"
    return f"{command} (pid {pid}); stop it"
