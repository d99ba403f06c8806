"""Finds the process of `svc up --foreground` that runs a site from the files in var/, as in a container."""

import dataclasses
import os
from collections.abc import Mapping

from svc.base import procfs
from svc.config.site import Site

FOREGROUND_FLAG, ONLY_FLAG = "--foreground", "--only"


@dataclasses.dataclass(frozen=True, slots=True)
class ForegroundProcess:
    """The environment of an `svc up --foreground`, and whether its --only selects some kinds of components."""

    environ: Mapping[str, str]
    has_only: bool = False


def foreground_process(site: Site, supervisord_pid: int, own: Mapping[str, str]) -> ForegroundProcess | None:
    """Return the `svc up --foreground` that runs this site from var/; None if there is none.

    `supervisord_pid` is the pid of the site's supervisord. If the environment of that `svc up` cannot be read, because
    the process belongs to another user, return `own` instead, the environment of this command: in a container, both
    have the container's variables.
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
