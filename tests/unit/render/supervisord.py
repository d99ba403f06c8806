"""Parses rendered files and splits commands as supervisord does."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supervisor.options import ServerOptions

from svc.protocol.shim_variables import decoded


def programs(root: Path, texts: Mapping[str, str]) -> dict[str, Any]:
    """Write the texts into `root`; return supervisord's process configurations by full name."""
    for name in ("logs", "var", "conf.d"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (root / name).write_bytes(text.encode())
    options = ServerOptions()
    options.here = str(root)
    options.configfile = str(root / "supervisord.conf")
    section = options.read_config(options.configfile)
    return {f"{g.name}:{p.name}": p for g in section.process_group_configs for p in g.process_configs}


def arguments(program: Any) -> list[str]:
    """Return the arguments of a program's command."""
    return shlex.split(program.command)


def child(program: Any) -> tuple[list[str], dict[str, str]]:
    """Return the arguments and the variables that the instance gets from the shim."""
    argv = arguments(program)
    end = argv.index("--")
    environ = decoded(program.environment)
    return argv[end + 1 :], {key: value for key, value in environ.items() if not key.startswith("SVC_")}
