"""Which sites are run by `svc up --foreground`, by the command lines of their supervisord and its parent."""

import os
import subprocess
import sys

import pytest

from svc.config.site import Site
from svc.site.foreground_process import ForegroundProcess, foreground_process

OWN = {"OWN": "1"}
CHILD = "import os; print(os.getpid(), flush=True); input()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}, *sys.argv[1:]])"


@pytest.fixture
def supervisord():
    """Return a function that starts a process with supervisord's arguments, as the child of one with other flags."""
    processes = []

    def start(conf, *flags):
        command = [sys.executable, "-c", PARENT, *(flags or ["--foreground"]), "-n", "-c", str(conf)]
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
    process = foreground_process(site, supervisord(site.var_supervisord_conf), OWN)
    assert process is not None
    assert process.environ["PORT"] == "9"
    assert "OWN" not in process.environ
    assert not process.has_only
    some = foreground_process(site, supervisord(site.var_supervisord_conf, "--foreground", "--only=router"), OWN)
    assert some is not None
    assert some.has_only


def test_any_other_supervisord_is_not_in_the_foreground(tmp_path, supervisord):
    site = Site(tmp_path)
    assert foreground_process(site, supervisord(site.var_supervisord_conf, "--timeout"), OWN) is None
    assert foreground_process(site, supervisord(site.supervisord_conf), OWN) is None
    assert foreground_process(site, 2**22 + 1, OWN) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_if_the_environment_is_hidden_the_own_one_is_used(tmp_path, supervisord):
    site = Site(tmp_path)
    pid = supervisord(site.var_supervisord_conf)
    child = os.fork()
    if child == 0:
        os.setresuid(12345, 12345, 12345)
        os._exit(0 if foreground_process(site, pid, OWN) == ForegroundProcess(OWN) else 1)
    assert os.waitpid(child, 0)[1] == 0
