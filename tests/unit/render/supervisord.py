"""What supervisord makes of rendered files: its own parser, and its own way from a command to words."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supervisor.options import ServerOptions

from svc.base.shim_variables import decoded


def programs(root: Path, texts: Mapping[str, str]) -> dict[str, Any]:
    """Writes the texts into `root` and returns supervisord's process configs by full name."""
    for name in ("logs", "var", "conf.d"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (root / name).write_bytes(text.encode())
    options = ServerOptions()
    options.here = str(root)
    options.configfile = str(root / "supervisord.conf")
    section = options.read_config(options.configfile)
    return {f"{g.name}:{p.name}": p for g in section.process_group_configs for p in g.process_configs}


def words(program: Any) -> list[str]:
    return shlex.split(program.command)


def child(program: Any) -> tuple[list[str], dict[str, str]]:
    """The instance's words and variables behind the shim."""
    told = words(program)
    end = told.index("--")
    environ = decoded(program.environment)
    return told[end + 1 :], {key: value for key, value in environ.items() if not key.startswith("SVC_")}
