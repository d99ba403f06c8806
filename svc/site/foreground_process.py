"""The `svc up --foreground` that runs a site from var/, as a container does."""

import dataclasses
import os
from collections.abc import Mapping

from svc.base import procfs
from svc.config.site import Site

FOREGROUND_FLAG, ONLY_FLAG = "--foreground", "--only"


@dataclasses.dataclass(frozen=True, slots=True)
class ForegroundProcess:
    """The environment of the process, and whether it was started for some kinds of components only."""

    environ: Mapping[str, str]
    has_only: bool = False


def foreground_process(site: Site, supervisord_pid: int, own: Mapping[str, str]) -> ForegroundProcess | None:
    """Return the `svc up --foreground` that runs this site from var/; None for any other site.

    The files in var/ are the rule there, and are rendered with the variables of that process. If the environment of
    another user's process cannot be read, use `own`, that of this command: in a container, both are the container's.
    """
    try:
        parent = procfs.stat(supervisord_pid).parent
        arguments = procfs.arguments(parent)
        runs_from_var = str(site.var_supervisord_conf.absolute()) in procfs.arguments(supervisord_pid)
    except OSError:
        return None
    if FOREGROUND_FLAG not in arguments or not runs_from_var:
        return None
    has_only = any(argument.partition("=")[0] == ONLY_FLAG for argument in arguments)
    try:
        pairs = (os.fsdecode(variable).partition("=") for variable in procfs.environment(parent))
    except OSError:
        return ForegroundProcess(own, has_only)
    return ForegroundProcess({key: value for key, _, value in pairs}, has_only)
