"""Serializes supervisord's configuration objects: those that supervisord runs, and those that its parser reads.

The same function serializes both kinds, so that the results differ only if supervisord itself would see a difference.
"""

import signal
from collections.abc import Iterable
from typing import Any

from supervisor.datatypes import Automatic, RestartUnconditionally, RestartWhenExitUnexpected
from supervisor.options import make_namespec

from svc.supervision.program_config import AUTO

AUTOMATIC_VALUES = {Automatic: AUTO, RestartWhenExitUnexpected: "unexpected", RestartUnconditionally: "true"}
PROGRAM_KEYS = (
    "command",
    "directory",
    "uid",
    "umask",
    "priority",
    "autostart",
    "autorestart",
    "startsecs",
    "startretries",
    "exitcodes",
    "stopsignal",
    "stopwaitsecs",
    "stopasgroup",
    "killasgroup",
    "redirect_stderr",
    "serverurl",
    "stdout_logfile",
    "stdout_logfile_maxbytes",
    "stdout_logfile_backups",
    "stdout_capture_maxbytes",
    "stdout_events_enabled",
    "stdout_syslog",
    "stderr_logfile",
    "stderr_logfile_maxbytes",
    "stderr_logfile_backups",
    "stderr_capture_maxbytes",
    "stderr_events_enabled",
    "stderr_syslog",
)
GROUP_KEYS = ("priority", "buffer_size")  # only an event listener has a buffer_size


def serialize(configs: Iterable[Any]) -> dict[str, Any]:
    """Return a dict from group names to group configurations as JSON values, for `program_config.parse_groups`."""
    return {
        config.name: {
            "keys": _group_keys(config),
            "programs": {
                make_namespec(config.name, program.name): {
                    "keys": _keys(program, PROGRAM_KEYS),
                    "environment": dict(program.environment or {}),
                }
                for program in config.process_configs
            },
        }
        for config in configs
    }


def _group_keys(config: Any) -> dict[str, str]:
    keys = {"kind": type(config).__name__, **_keys(config, GROUP_KEYS)}
    if socket := getattr(config, "socket_config", None):
        keys["socket"] = str(socket)  # the backlog is left out, because supervisord does not compare it
    if events := getattr(config, "pool_events", None):
        keys["events"] = ",".join(sorted(event.__name__ for event in events))
    return keys


def _keys(config: Any, names: Iterable[str]) -> dict[str, str]:
    values = ((name, getattr(config, name, None)) for name in names)
    return {name: _text(name, value) for name, value in values if value is not None}


def _text(name: str, value: Any) -> str:
    if isinstance(value, type):
        return AUTOMATIC_VALUES.get(value, value.__name__)
    if isinstance(value, bool):
        return str(value).lower()
    if name == "stopsignal":
        return signal.Signals(value).name.removeprefix("SIG")
    if name == "umask":
        return f"{value:03o}"
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
