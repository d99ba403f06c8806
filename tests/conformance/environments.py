"""Environments of clients and engines: a virtual environment or an npm prefix for each, kept in the user's cache."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "infinilm-svc" / "conformance"
INSTALL_TIMEOUT_SECONDS = 1700
VARIABLES = ("PATH", "LANG", "TMPDIR", "CURL_CA_BUNDLE", "SSL_CERT_FILE")  # all that a client sees of this process's


@dataclass(frozen=True)
class Environment:
    """`packages` are requirements, the first of which is the client or engine; a version is exact: `llm==0.36`."""

    kind: str  # python | npm
    packages: tuple[str, ...]
    install_flags: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()  # of the installation

    @property
    def root(self) -> Path:
        described = json.dumps([self.kind, self.packages, self.install_flags, self.variables, sys.version_info[:2]])
        return CACHE / f"{self.name.strip('@').replace('/', '-')}-{hashlib.sha256(described.encode()).hexdigest()[:8]}"

    @property
    def name(self) -> str:
        """Return the name of the first package, without extras and version."""
        match = re.match(r"@?[^@=\[]+", self.packages[0])
        assert match
        return match.group()

    @property
    def programs(self) -> Path:
        return self.root / ("bin" if self.kind == "python" else "node_modules/.bin")

    def install(self) -> None:
        """Install the packages, unless they are there; skip the test with the reason where that is not possible."""
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / f"{self.root.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (self.root / "complete").exists():
                return
            shutil.rmtree(self.root, ignore_errors=True)
            try:
                INSTALLERS[self.kind](self)
            except (OSError, subprocess.SubprocessError) as error:
                pytest.skip(f"cannot install {self.packages[0]}: {_last_line(error)}")
            (self.root / "complete").touch()

    def version(self) -> str:
        """Return the installed version of the first package."""
        if self.kind == "npm":
            return str(json.loads((self.root / "node_modules" / self.name / "package.json").read_text())["version"])
        program = f"import importlib.metadata as m; print(m.version({self.name!r}))"
        return subprocess.run(
            [self.programs / "python", "-c", program], check=True, capture_output=True, text=True, timeout=60
        ).stdout.strip()

    def variables_for(self, home: Path) -> dict[str, str]:
        """Return the environment variables with which its programs run; settings of the user do not reach them."""
        kept = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        kept["PATH"] = os.pathsep.join([str(self.programs), kept.get("PATH", os.defpath)])
        return kept | {"HOME": str(home), "TERM": "dumb", "NO_COLOR": "1"}


def python(*packages: str, install_flags: tuple[str, ...] = (), **variables: str) -> Environment:
    return Environment("python", packages, install_flags, tuple(sorted(variables.items())))


def npm(*packages: str, install_flags: tuple[str, ...] = ()) -> Environment:
    return Environment("npm", packages, install_flags)


def _install_python(environment: Environment) -> None:
    _run([sys.executable, "-m", "venv", "--without-pip", str(environment.root)])
    target = ["--python", str(environment.programs / "python")]
    flags = ["--quiet", "--no-compile", *environment.install_flags]
    _run([sys.executable, "-m", "pip", *target, "install", *flags, *environment.packages], dict(environment.variables))


def _install_npm(environment: Environment) -> None:
    if not shutil.which("npm"):
        raise OSError("npm is not installed (Debian: apt install nodejs npm)")
    environment.root.mkdir(parents=True)
    flags = ["--no-audit", "--no-fund", "--save-exact", *environment.install_flags]
    _run(["npm", "install", "--prefix", str(environment.root), *flags, *environment.packages])


INSTALLERS: dict[str, Callable[[Environment], None]] = {"python": _install_python, "npm": _install_npm}


def _run(command: list[str], variables: Mapping[str, str] | None = None) -> None:
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_SECONDS,
        stdin=subprocess.DEVNULL,
        env=os.environ | (variables or {}),
    )


def _last_line(error: Exception) -> str:
    lines = str(getattr(error, "stderr", None) or error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
