"""The environment of the `svc up --foreground` that runs a site from var/, as a container does."""

import os
from collections.abc import Mapping

from svc.base import procfs
from svc.config.site import Site

FOREGROUND_FLAG = "--foreground"


def foreground_environment(site: Site, supervisord_pid: int, own: Mapping[str, str]) -> Mapping[str, str] | None:
    """Return the environment of the `svc up --foreground` that runs this site from var/; None for any other site.

    The files in var/ are the rule there, and are rendered with these variables. If the environment of another user's
    process cannot be read, return `own`, that of this command: in a container, both are the container's.
    """
    try:
        parent = procfs.stat(supervisord_pid).parent
        if FOREGROUND_FLAG not in procfs.arguments(parent):
            return None
        if str(site.var_supervisord_conf.absolute()) not in procfs.arguments(supervisord_pid):
            return None
    except OSError:
        return None
    try:
        pairs = (os.fsdecode(variable).partition("=") for variable in procfs.environment(parent))
    except OSError:
        return own
    return {key: value for key, _, value in pairs}
