"""Which log files a name selects."""

from pathlib import Path

import pytest

from svc.base.errors import CommandError
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.render.generate import plan_site
from svc.site.log_files import log_files, select_logs

NAMES = ("registry", "router", "a:server", "a:babysitter", "ab:server", "ab:babysitter", "mine", "supervisord")
PATHS = {name: Path(name) for name in NAMES}


@pytest.mark.parametrize(
    ("names", "selected"),
    [
        ([], list(NAMES)),
        (["all"], list(NAMES)),
        (["a"], ["a:server", "a:babysitter"]),
        (["a:*"], ["a:server", "a:babysitter"]),
        (["ab:babysitter", "router"], ["ab:babysitter", "router"]),
        (["a:server", "a"], ["a:server", "a:babysitter"]),
        (["supervisord", "mine"], ["supervisord", "mine"]),
    ],
)
def test_a_name_selects_the_logs_of_its_programs(names, selected):
    assert list(select_logs(names, PATHS)) == selected


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("zzz", f"there are {', '.join(NAMES)}"),
        ("", f"there are {', '.join(NAMES)}"),
        ("*", f"there are {', '.join(NAMES)}"),
        ("a:serve", "did you mean a:server?"),
        ("rooter", "did you mean router?"),
        ("abb", "did you mean ab?"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_or_the_known_ones(name, cure):
    with pytest.raises(CommandError) as caught:
        select_logs(["a", name], PATHS)
    assert caught.value.message == f"{name}: no such program here; {cure}"


def test_without_supervisord_the_log_files_are_those_of_conf_d(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    site = Site(Path())
    site.config.mkdir()
    (site.config / "q.toml").write_text('name = "q"\nport = 8100\n[backend]\ntype = "mock"\nmodels = ["m"]\n')
    plan_site(site, load_settings(), site.tomls()).write()
    (site.conf_d / "mine.conf").write_text("[program:mine]\ncommand=x\n[program:own]\ncommand=x\nstdout_logfile=o.log")
    assert {name: path.name for name, path in log_files(site).items()} == {
        "registry": "registry_18000.log",
        "router": "router_8000.log",
        "own": "o.log",
        "q:server": "server_q.log",
        "q:babysitter": "babysitter_q.log",
        "supervisord": "supervisord.log",
    }
    (site.conf_d / "mine.conf").write_text("[program:mine]\n")
    with pytest.raises(CommandError, match=r"^supervisord.conf: supervisord would refuse it: .*; run svc render$"):
        log_files(site)


def test_a_program_whose_output_is_in_no_file_is_answered_with_docker_logs():
    paths = {"mine": Path("mine"), "supervisord": Path("supervisord")}
    without_files = ["a:server", "a:babysitter", "supervisord"]
    for name in ("a", "a:server", "supervisord"):
        with pytest.raises(CommandError, match=rf"^{name}: no log file, .*`docker logs CONTAINER`"):
            select_logs([name], paths, without_files)
    assert list(select_logs([], paths, without_files)) == ["mine"]
    with pytest.raises(CommandError, match=r"^b: no such program here; there are mine, a:server"):
        select_logs(["b"], paths, without_files)
