"""Whether systemd runs a site, by the unit files of a machine."""

import os
import subprocess
import sys

import pytest

from svc.base.errors import CommandError
from svc.config.site import Site
from svc.site import systemd_search
from svc.supervision import supervisord_search
from tests.waiting import wait_until

UNIT = "[Service]\nExecStart=/opt/svc/bin/supervisord --nodaemon --configuration {}/supervisord.conf\n"


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path / "site")


@pytest.fixture
def units(tmp_path, site):
    """A directory of unit files, one of them the site's."""
    units = tmp_path / "units"
    units.mkdir()
    (units / "other.service").write_text(UNIT.format("/srv/other"))
    (units / "wrong.service").write_bytes(b"ExecStart=\xff supervisord")
    (units / "llm.service").write_text(UNIT.format(site.root))
    return units


@pytest.fixture
def supervisord(site):
    """A process with the command line of the site's supervisord, which systemd did not start."""
    site.root.mkdir()
    program = site.root / "supervisord"
    program.write_text("import sys; sys.stdin.read()")
    command = [sys.executable, str(program), "-n", "-c", str(site.supervisord_conf)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        wait_until(lambda: supervisord_search.running_pid(site) == process.pid, description="the exec")
        yield process
        process.stdin.close()


def test_a_site_that_does_not_run_has_the_unit_that_would_start_it(site, units, tmp_path):
    unit = systemd_search.find(site, booted=tmp_path, directories=[tmp_path / "none", units])
    assert (unit.name, unit.is_running) == ("llm", False)
    assert systemd_search.find(Site(tmp_path / "elsewhere"), booted=tmp_path, directories=[units]) is None


def test_a_masked_unit_does_not_start_a_site(site, units, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "llm.service").symlink_to("/dev/null")
    assert systemd_search.find(site, booted=tmp_path, directories=[masks, units]) is None


def test_without_systemd_no_unit_runs_a_site(site, units, tmp_path):
    assert systemd_search.find(site, booted=tmp_path / "none", directories=[units]) is None
    assert systemd_search.installed_unit(site, booted=tmp_path / "none", directories=[units]) is None


def test_a_site_that_was_started_by_hand_is_not_systemds(site, units, tmp_path, supervisord):
    assert systemd_search.find(site, booted=tmp_path, directories=[units]) is None
    assert systemd_search.installed_unit(site, booted=tmp_path, directories=[units]).name == "llm"


def test_the_unit_does_not_start_over_a_site_that_was_started_by_hand(site, supervisord):
    with pytest.raises(CommandError, match="runs on this site already.* down` ends it") as refusal:
        systemd_search.prepare(site)
    assert f"(pid {supervisord.pid})" in refusal.value.message


def test_the_unit_starts_if_the_supervisord_ends_before_the_refusal(site, supervisord, monkeypatch):
    running_pid = supervisord_search.running_pid

    def pid_of_an_ended_process(site):
        pid = running_pid(site)
        supervisord.kill()
        supervisord.wait(10)
        return pid

    monkeypatch.setattr(supervisord_search, "running_pid", pid_of_an_ended_process)
    systemd_search.prepare(site)
    assert site.var.is_dir()


def test_the_unit_makes_directories_whose_files_git_ignores(site):
    site.var.mkdir(parents=True)  # as systemd's StateDirectory makes it
    systemd_search.prepare(site)
    assert [(path / ".gitignore").read_text() for path in (site.logs, site.var)] == ["*\n!.gitignore\n"] * 2


def test_a_process_of_this_test_is_no_main_process_of_a_unit():
    assert systemd_search.unit_of_process(os.getpid()) is None
    assert systemd_search.unit_of_process(2**22) is None
