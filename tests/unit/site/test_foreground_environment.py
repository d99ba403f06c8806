"""Which sites are run by `svc up --foreground`, by the command lines of their supervisord and its parent."""

import os
import subprocess
import sys

import pytest

from svc.config.site import Site
from svc.site.foreground_environment import foreground_environment

OWN = {"OWN": "1"}
CHILD = "import os; print(os.getpid(), flush=True); input()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}, *sys.argv[2:]])"


@pytest.fixture
def supervisord():
    """Return a function that starts a process with supervisord's arguments, as the child of one with another flag."""
    processes = []

    def start(conf, flag="--foreground"):
        command = [sys.executable, "-c", PARENT, flag, "-n", "-c", str(conf)]
        environ = {"PORT": "9"}
        processes.append(
            subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        return int(processes[-1].stdout.readline())

    yield start
    for process in processes:
        process.communicate("\n")


def test_a_foreground_supervisord_has_the_environment_of_its_parent(tmp_path, supervisord):
    site = Site(tmp_path)
    environ = foreground_environment(site, supervisord(site.var_supervisord_conf), OWN)
    assert environ is not None
    assert environ["PORT"] == "9"
    assert "OWN" not in environ


def test_any_other_supervisord_is_not_in_the_foreground(tmp_path, supervisord):
    site = Site(tmp_path)
    assert foreground_environment(site, supervisord(site.var_supervisord_conf, "--timeout"), OWN) is None
    assert foreground_environment(site, supervisord(site.supervisord_conf), OWN) is None
    assert foreground_environment(site, 2**22 + 1, OWN) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_if_the_environment_is_hidden_the_own_one_is_used(tmp_path, supervisord):
    site = Site(tmp_path)
    pid = supervisord(site.var_supervisord_conf)
    child = os.fork()
    if child == 0:
        os.setresuid(12345, 12345, 12345)
        os._exit(0 if foreground_environment(site, pid, OWN) == OWN else 1)
    assert os.waitpid(child, 0)[1] == 0
