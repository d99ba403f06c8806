"""Which process is the supervisord of a site, by its command line and its pid file."""

import os
import subprocess
import sys

import pytest

from svc.base import procfs
from svc.config.site import Site
from svc.supervision import supervisord_search
from tests.waiting import wait_until

STRANGER = 65534  # the uid of nobody
WAIT = "import sys; sys.stdin.read()"


@pytest.fixture
def site(tmp_path):
    for name in ("config", "var"):
        (tmp_path / name).mkdir()
    return Site(tmp_path)


@pytest.fixture
def start(tmp_path):
    """Start a process that waits and looks like `python3 .../supervisord ARGUMENTS`."""
    script = tmp_path / "supervisord"
    script.write_text(WAIT)
    processes = []

    def start(*arguments, program=script):
        process = subprocess.Popen([sys.executable, str(program), *arguments], stdin=subprocess.PIPE, cwd=tmp_path)
        processes.append(process)
        wait_until(lambda: str(program) in procfs.arguments(process.pid), description="the exec")
        return process.pid

    yield start
    for process in processes:
        process.communicate()


@pytest.fixture
def start_as():
    """Start a process of a user that waits and whose command line is `supervisord -s -- ARGUMENTS`."""
    processes = []

    def start_as(uid, *arguments):
        command = ["supervisord", "-s", "--", *arguments]
        ids = {"user": uid, "group": uid, "extra_groups": []}
        processes.append(subprocess.Popen(command, executable="/bin/sh", stdin=subprocess.PIPE, **ids))
        return processes[-1].pid

    yield start_as
    for process in processes:
        process.communicate()


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "{root}/supervisord.conf"),
        ("-n", "-c", "{root}/var/supervisord.conf"),
        ("--configuration={root}/supervisord.conf",),
        ("-c", "supervisord.conf"),
    ],
)
def test_a_supervisord_is_found_by_its_configuration(site, start, arguments):
    pid = start(*(argument.format(root=site.root) for argument in arguments))
    assert supervisord_search.running_pid(site) == pid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
@pytest.mark.parametrize(("mode", "owner", "is_found"), [(0o755, 0, False), (0o777, 0, True), (0o755, STRANGER, True)])
def test_a_user_who_may_not_write_the_site_runs_no_supervisord_on_it(site, start_as, mode, owner, is_found):
    pid = start_as(STRANGER, "-c", f"{site.root}/supervisord.conf")
    site.root.chmod(mode)
    os.chown(site.root, owner, owner)
    assert supervisord_search.running_pid(site) == (pid if is_found else None)


def test_a_stale_pid_file_names_no_supervisord_of_another_directory(site, start, tmp_path):
    pid = start()
    (tmp_path / "other" / "var").mkdir(parents=True)
    other = Site(tmp_path / "other")
    other.pidfile.write_text(f"{pid}\n")
    assert supervisord_search.running_pid(other) is None


def test_without_a_configuration_the_pid_file_decides(site, start):
    pid = start()
    assert supervisord_search.running_pid(site) is None
    site.pidfile.write_text(f"{pid}\n")
    assert supervisord_search.running_pid(site) == pid


def test_a_pid_file_that_names_another_process_is_ignored(site, start, tmp_path):
    other = tmp_path / "other"
    other.write_text(WAIT)
    pids = [start("-c", "/elsewhere/supervisord.conf"), start("supervisord", "-c", "supervisord.conf", program=other)]
    for pid in pids:
        site.pidfile.write_text(str(pid))
        assert supervisord_search.running_pid(site) is None


def test_a_process_belongs_to_the_site_of_its_supervisord(site, start):
    assert supervisord_search.site_of(start("-c", f"{site.root}/var/supervisord.conf")) == site.root
    assert supervisord_search.site_of(os.getpid()) is None
