"""Checks that the ports of a site are free, before anything is started or changed."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from svc.base import procfs
from svc.base.errors import ConfigError
from svc.site.components import Component
from svc.supervision.client import Process, SupervisordClient
from svc.supervision.launch import holder_of, is_taken


def refuse_taken(
    components: Iterable[Component], supervisord: SupervisordClient | None = None, touched: Collection[str] = ()
) -> None:
    """Raise ConfigError with a line for each port that a program outside this site holds.

    Only the ports of components that do not run, or that are in `touched` because they will be restarted, are
    checked. The check matters most for the router: supervisord itself exits if it cannot bind the router's address.
    """
    processes = supervisord.processes() if supervisord else {}
    ours = {process.pid for process in processes.values() if process.pid}
    if supervisord:
        ours.add(supervisord.pid())
    problems = [
        f"{component.name}: port {port} is taken by {holder}; stop it or choose another port"
        for component in components
        if component.name in touched or not is_running(component, processes)
        for port in component.ports
        if (holder := _other_holder(port, ours, component.listens_on_ipv6))
    ]
    if problems:
        raise ConfigError(*problems)


def is_running(component: Component, processes: Mapping[str, Process]) -> bool:
    return all(name in processes and processes[name].state == "RUNNING" for name in component.programs)


def _other_holder(port: int, ours: Collection[int], ipv6: bool) -> str:
    """Return a text on the process that holds the port.

    The text is empty if the port is free, or if the process or one of its ancestors has a pid in `ours`.
    """
    if not is_taken(port, ipv6):
        return ""
    holder = holder_of(port)
    if holder is None:
        return "another program"
    pid, command = holder
    return "" if any(ancestor in ours for ancestor in ancestors(pid)) else f"{command} (pid {pid})"


def ancestors(pid: int) -> Iterator[int]:
    """Yield the pids of a process, of its parent, and of all further ancestors."""
    while pid > 0:
        yield pid
        try:
            pid = procfs.stat(pid).parent
        except (OSError, ValueError):
            return
