"""How the scripts in bin/ make their environment: seen by a python3 that only notes what it is asked to do."""

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
esac
"""


class Checkout:
    def __init__(self, root: Path) -> None:
        self.root, self.log, self.path = root / "checkout", root / "log", root / "path"
        for directory in (self.root / "bin", self.path):
            directory.mkdir(parents=True)
        for name in ("bin/venv.sh", "setup.cfg"):
            shutil.copy(ROOT / name, self.root / name)
        self.python()

    def python(self, ensurepip: int = 0, old: int = 0) -> None:
        script = self.path / "python3"
        script.write_text(PYTHON.format(log=self.log, ensurepip=ensurepip, old=old))
        script.chmod(0o755)

    def run(self, *extras: str, **environ: str) -> tuple[str, str, int]:
        """stdout, stderr, exit code."""
        path = f"{self.path}:{os.environ['PATH']}"
        done = subprocess.run(
            [str(self.root / "bin" / "venv.sh"), *extras], env={"PATH": path, **environ}, capture_output=True, text=True
        )
        return done.stdout, done.stderr, done.returncode

    def asked(self) -> list[str]:
        """What it was to install since the last time that this was asked."""
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
    assert checkout.asked() == ["."]
    assert checkout.run() == (out, "", 0)
    assert checkout.asked() == []


def test_extras_are_installed_when_they_are_first_needed_and_do_for_the_rest(checkout):
    checkout.run()
    checkout.asked()
    checkout.run("test,dev")
    assert checkout.asked() == [".[test,dev]"]
    checkout.run()
    checkout.run("test,dev")
    assert checkout.asked() == []


def test_a_changed_setup_cfg_is_installed_anew(checkout):
    checkout.run()
    checkout.asked()
    with (checkout.root / "setup.cfg").open("a") as file:
        file.write("# changed\n")
    checkout.run()
    assert checkout.asked() == ["."]


def test_one_that_was_moved_is_made_anew_and_no_other(checkout, tmp_path):
    checkout.run()
    checkout.asked()
    checkout.run("test")
    assert "-m venv" not in checkout.log.read_text()
    checkout.root = checkout.root.rename(tmp_path / "moved")
    checkout.run()
    assert "-m venv --clear" in checkout.log.read_text()


def test_one_that_is_kept_by_somebody_else_is_used_as_it_is(checkout):
    assert checkout.run(SVC_VENV="/opt/venv") == ("/opt/venv\n", "", 0)
    assert checkout.asked() == []


def test_where_debian_s_venv_is_missing_one_line_tells_the_cure(checkout):
    checkout.python(ensurepip=1)
    out, err, status = checkout.run()
    assert (out, status) == ("", 1)
    assert err == "python3 cannot make a virtual environment: apt install python3-venv\n"


def test_an_old_python_is_one_line_too(checkout):
    checkout.python(old=1)
    assert checkout.run() == ("", "python3: 3.10 or newer is needed: apt install python3 python3-venv\n", 1)
