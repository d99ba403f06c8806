"""Commands of svc that speak to a registry of the test, and services for them."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.sites import clean_environ
from tests.fork_server import run_svc
from tests.integration.registry.process import Registry
from tests.integration.router.registry import instance

SVC = str(Path(sys.executable).parent / "svc")


def url_of(registry: Registry) -> str:
    return registry.client.urls[0]


def environ(registry: Registry) -> dict[str, str]:
    return {**clean_environ(), "REGISTRY_URL": url_of(registry)}


def run(registry: Registry, *arguments: str, status: int = 0, **more: str) -> tuple[str, str]:
    """Run a command that must exit with `status`; return its stdout and stderr."""
    return run_svc(*arguments, cwd=registry.place, env=environ(registry) | more, status=status)


@contextmanager
def running(registry: Registry, *arguments: str) -> Iterator[Any]:
    """Start a command whose output is read line by line."""
    process = subprocess.Popen(
        [SVC, *arguments],
        cwd=registry.place,
        env=environ(registry),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def register(registry: Registry, name: str, port: int = 8100, **more: Any) -> None:
    """Register an instance and its babysitter."""
    registry.client.register(instance(name, port, "m", **more))
    babysitter = instance(name.removesuffix("-server"), port + 1) | {"metadata": {"type": "babysitter", "server": name}}
    registry.client.register(babysitter)
