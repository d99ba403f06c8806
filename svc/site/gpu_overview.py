"""`svc gpus`: finds out which GPUs the hosts have, from the registry or, without it, from this host's own tool."""

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

import msgspec

from svc.base.errors import CommandError, NotFound
from svc.base.gpus.gpu import HostGpus
from svc.base.gpus.reading import TOOLS, read_gpus
from svc.client.registry import RegistryClient
from svc.protocol.gpu_report import READING_FILE, GpuReport, ListedHost
from svc.site.access import explaining_errors

THIS_HOST = "this host"
MAX_FILE_BYTES = 4 << 20
MAX_SKEW_SECONDS = 5.0  # a file dated further in the future was written before the clock was set back
PROGRAMS = ", ".join(tool.program for tool in TOOLS)
NO_TOOL = f"this host has no tool that lists GPUs ({PROGRAMS})"
Read = Callable[[], "Reading | None"]


class Reading(NamedTuple):
    """A reading of this host's GPUs, and its age in seconds."""

    gpus: HostGpus
    age: float


class Overview(NamedTuple):
    """The reports about GPUs. `source` is the registry's URL or THIS_HOST; in the latter case, `note` says why."""

    hosts: list[ListedHost]
    source: str
    note: str = ""


def overview(client: RegistryClient, read: Read) -> Overview:
    """Return the GPUs that the registry lists, or this host's GPUs if the registry lists none or does not answer.

    `read` reads this host's GPUs. Raise CommandError if the registry does not answer and no vendor's tool is installed.
    """
    try:
        with explaining_errors("read the GPUs", client, "lists no GPUs: it is older than this svc"):
            hosts = client.gpus()
    except (CommandError, NotFound) as error:
        own = own_overview(read, f"{error.message}; these are the GPUs of this host")
        if own is None:
            raise CommandError(f"{error.message}; and {NO_TOOL}") from None
        return own
    url = client.urls[0]
    if hosts:
        return Overview(hosts, url)
    note = f"no babysitter reports GPUs to {url}"
    own = own_overview(read, f"{note}; these are the GPUs of this host")
    return own or Overview([], url, f"{note}, and {NO_TOOL}")


def own_overview(read: Read, note: str = "") -> Overview | None:
    """Return this host's GPUs; None if no vendor's tool is installed."""
    reading = read()
    if reading is None:
        return None
    gpus, age = reading
    host = ListedHost(
        service="",
        age=age,
        hostname=socket.gethostname(),
        tool=gpus.tool,
        gpus=gpus.gpus,
        problem=gpus.problem,
    )
    return Overview([host], THIS_HOST, note)


def read_this_host(
    var: Path, timeout: float, now: float, read: Callable[[float], HostGpus | None] = read_gpus
) -> Reading | None:
    """Return the last reading of the site's babysitter if it is recent, else read the GPUs within `timeout` seconds.

    The babysitter does not restart a vendor's tool that hangs in the driver. A command that uses the babysitter's
    reading does not start the tool either. `var` is the site's state directory, and `now` is in Unix seconds.
    """
    path = var / READING_FILE
    with suppress(OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        stat = path.stat()
        age = max(0.0, now - stat.st_mtime)
        is_readable = S_ISREG(stat.st_mode) and stat.st_size <= MAX_FILE_BYTES  # reading a pipe could block
        report = msgspec.json.decode(path.read_bytes() if is_readable else b"", type=GpuReport)
        if report.is_current(age) and stat.st_mtime - now <= MAX_SKEW_SECONDS:
            return Reading(report, round(age, 1))
    reading = read(timeout)
    return None if reading is None else Reading(reading, 0.0)
