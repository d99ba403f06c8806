"""How the scripts in bin/ make their environment, recorded by a python3 that only logs its arguments."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.sites import ROOT

PYTHON = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
    *ensurepip*) exit {ensurepip} ;;
    *version_info*) exit {old} ;;
    "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-m uv"*) exit {uv} ;;
esac
"""


class Checkout:
    """A copy of bin/venv.sh beside a recording python3."""

    def __init__(self, root: Path) -> None:
        self.root, self.log, self.path = root / "checkout", root / "log", root / "path"
        for directory in (self.root / "bin", self.path):
            directory.mkdir(parents=True)
        for name in ("bin/venv.sh", "setup.cfg"):
            shutil.copy(ROOT / name, self.root / name)
        self.python()

    def python(self, ensurepip: int = 0, old: int = 0, uv: int = 0) -> None:
        script = self.path / "python3"
        script.write_text(PYTHON.format(log=self.log, ensurepip=ensurepip, old=old, uv=uv))
        script.chmod(0o755)

    def run(self, *extras: str, **environ: str) -> tuple[str, str, int]:
        """Return stdout, stderr and the exit code."""
        path = f"{self.path}:{os.environ['PATH']}"
        completed = subprocess.run(
            [str(self.root / "bin" / "venv.sh"), *extras], env={"PATH": path, **environ}, capture_output=True, text=True
        )
        return completed.stdout, completed.stderr, completed.returncode

    def run_on_terminal(self) -> str:
        """Run the script with a terminal as stderr; return its stdout."""
        terminal, stderr = os.openpty()
        try:
            script = [str(self.root / "bin" / "venv.sh")]
            path = f"{self.path}:{os.environ['PATH']}"
            return subprocess.run(
                script, env={"PATH": path}, stdout=subprocess.PIPE, stderr=stderr, text=True, check=True
            ).stdout
        finally:
            os.close(stderr)
            os.close(terminal)

    def installed(self) -> list[str]:
        """Return what was to be installed since the last call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line.split()[-1] for line in lines if "pip install" in line]


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    return Checkout(tmp_path)


def test_an_environment_is_made_once(checkout):
    out, err, _ = checkout.run()
    assert out == f"{checkout.root}/.venv\n"
    assert err.startswith("installing infinilm-svc into .venv")
    assert checkout.installed() == ["."]
    assert checkout.run() == (out, "", 0)
    assert checkout.installed() == []


def test_pip_shows_its_progress_on_a_terminal_only(checkout):
    assert checkout.run_on_terminal() == f"{checkout.root}/.venv\n"
    assert "pip install" in checkout.log.read_text()
    assert "--quiet" not in checkout.log.read_text()
    checkout.log.unlink()
    checkout.run("test")
    assert "pip install --quiet" in checkout.log.read_text()


def test_extras_are_installed_when_they_are_first_needed(checkout):
    checkout.run()
    checkout.installed()
    checkout.run("test")
    assert checkout.installed() == [".[test]"]
    checkout.run()
    checkout.run("test")
    assert checkout.installed() == []


def test_a_developers_packages_are_installed_by_uv_if_it_can(checkout):
    checkout.run("test,dev")
    assert checkout.installed() == ["uv", ".[test,dev]"]
    checkout.python(uv=2)
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    checkout.run("test,dev")
    assert checkout.installed() == ["uv", ".[test,dev]", ".[test,dev]"]


def test_a_changed_setup_cfg_is_installed_again(checkout):
    checkout.run()
    checkout.installed()
    with (checkout.root / "setup.cfg").open("a") as file:
        file.write("# changed\n")
    checkout.run()
    assert checkout.installed() == ["."]


def test_only_a_moved_environment_is_made_again(checkout, tmp_path):
    checkout.run()
    checkout.installed()
    checkout.run("test")
    assert "-m venv" not in checkout.log.read_text()
    checkout.root = checkout.root.rename(tmp_path / "moved")
    checkout.run()
    assert "-m venv --clear" in checkout.log.read_text()


def test_an_environment_of_the_operator_is_used_as_it_is(checkout):
    assert checkout.run(SVC_VENV="/opt/venv") == ("/opt/venv\n", "", 0)
    assert checkout.installed() == []


def test_without_debians_venv_one_line_names_the_cure(checkout):
    checkout.python(ensurepip=1)
    out, err, status = checkout.run()
    assert (out, status) == ("", 1)
    assert err == "python3 cannot make a virtual environment: apt install python3-venv\n"


def test_an_old_python_is_refused_in_one_line(checkout):
    checkout.python(old=1)
    assert checkout.run() == ("", "python3: 3.10 or newer is needed: apt install python3 python3-venv\n", 1)
