"""`svc gpus`: finds out which GPUs the hosts have, from the registry or, without it, from this host's own tool."""

import socket
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from svc.base.errors import CommandError, NotFound
from svc.base.gpus.gpu import HostGpus
from svc.base.gpus.reading import TOOLS
from svc.client.registry import RegistryClient
from svc.protocol.gpu import ListedHost
from svc.site.access import explaining_errors

THIS_HOST = "this host"
PROGRAMS = ", ".join(tool.program for tool in TOOLS)
NO_TOOL = f"this host has no tool that lists GPUs ({PROGRAMS})"
Read = Callable[[], HostGpus | None]


class Overview(NamedTuple):
    """The reports about GPUs. `source` is the registry's URL or THIS_HOST, and `note` says why it is this host."""

    hosts: list[ListedHost]
    source: str
    note: str = ""


def overview(client: RegistryClient, read: Read) -> Overview:
    """Return the GPUs that the registry lists. If it lists none, return this host's; raise CommandError without any.

    `read` reads this host's GPUs.
    """
    try:
        with explaining_errors("read the GPUs", client, "lists no GPUs: it is older than this svc"):
            hosts = client.gpus()
    except (CommandError, NotFound) as error:
        own = own_overview(read, f"{error.message}; these are the GPUs of this host, read now")
        if own is None:
            raise CommandError(f"{error.message}; and {NO_TOOL}") from None
        return own
    url = client.urls[0]
    if hosts:
        return Overview(hosts, url)
    note = f"no babysitter reports GPUs to {url}"
    own = own_overview(read, f"{note}; these are the GPUs of this host, read now")
    return own or Overview([], url, f"{note}, and {NO_TOOL}")


def own_overview(read: Read, note: str = "") -> Overview | None:
    """Return this host's GPUs, read now; None if no vendor's tool is installed."""
    reading = read()
    if reading is None:
        return None
    host = ListedHost(service="", age=0.0, hostname=socket.gethostname(), **msgspec.structs.asdict(reading))
    return Overview([host], THIS_HOST, note)
