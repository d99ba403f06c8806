"""The original's own programs, from the directory that the environment variable ORIGINAL_SVC_BIN names.

The directory holds either the Rust programs (infini-registry, infini-router, infini-babysitter) or the older Python
ones (service_registry.py and the others), which ORIGINAL_SVC_PYTHON runs: an interpreter with aiohttp and requests.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.integration.babysitter.processes import LoggedProcess

VARIABLE, PYTHON_VARIABLE = "ORIGINAL_SVC_BIN", "ORIGINAL_SVC_PYTHON"
IDLE_SERVER = "import signal\nsignal.pause()\n"  # the instance itself is a process of the test


def directory() -> Path | None:
    """Return the directory with the programs; None if there is none."""
    return Path(os.environ[VARIABLE]).absolute() if os.environ.get(VARIABLE) else None


class Program(LoggedProcess):
    """One of the original's programs, in `place`."""

    def __init__(self, name: str, flags: Sequence[object], place: Path) -> None:
        (place / "logs").mkdir(exist_ok=True)
        super().__init__([*command(name), *flags], place, place / f"{name}.log")

    def end(self) -> int:  # type: ignore[override]
        """Kill it and all that it started: its babysitter leaves its instance running when it ends."""
        self.kill_all()
        return 0


def command(name: str) -> list[object]:
    made = directory()
    assert made is not None, f"{VARIABLE} is not set"
    return [os.environ.get(PYTHON_VARIABLE, sys.executable), made / name] if name.endswith(".py") else [made / name]


def is_python() -> bool:
    made = directory()
    return made is not None and (made / "service_registry.py").exists()


def registry(port: int, place: Path) -> Program:
    name = "service_registry.py" if is_python() else "infini-registry"
    return Program(name, ["--port", port, "--health-interval", 1], place)


def router(port: int, registry_url: str, place: Path) -> Program:
    own = ["--router-port", port, "--registry-url", registry_url, "--health-interval", 1]
    if is_python():
        return Program("distributed_router.py", own, place)
    return Program("infini-router", [*own, "--registry-sync-interval", 1], place)


def babysitter(name: str, port: int, registry_url: str, toml: Path, place: Path) -> Program:
    if not is_python():
        return Program("infini-babysitter", ["--config-file", toml], place)
    script = place / "server.py"
    script.write_text(IDLE_SERVER)
    flags = ["--name", name, "--host", "127.0.0.1", "--port", port, "--registry", registry_url]
    flags += ["--heartbeat-interval", 1, "--path", "model", "--launch-script", script]
    return Program("enhanced_babysitter.py", flags, place)
