"""Which log files are meant, and how their lines look."""

import io
from pathlib import Path

import pytest

from svc.base.errors import CommandError
from svc.cli.logs import Shown, choose, files
from svc.config.settings_file import load_settings
from svc.config.site import Site
from svc.render.generate import plan_site
from svc.terminal.output import LogOutput

NAMES = ("registry", "router", "a:server", "a:babysitter", "ab:server", "ab:babysitter", "mine", "supervisord")
THERE = {name: Path(name) for name in NAMES}


@pytest.mark.parametrize(
    ("names", "chosen"),
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
def test_a_name_means(names, chosen):
    assert list(choose(names, THERE)) == chosen


@pytest.mark.parametrize("name", ["b", "a:serve", "", "server", "*"])
def test_a_name_that_means_nothing_is_told_with_those_that_do(name):
    with pytest.raises(CommandError) as caught:
        choose(["a", name], THERE)
    assert caught.value.message == f"{name}: no such program here; there are {', '.join(NAMES)}"


def test_where_nothing_runs_the_files_are_those_that_conf_d_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    site = Site(Path())
    site.config.mkdir()
    (site.config / "q.toml").write_text('name = "q"\nport = 8100\n[backend]\ntype = "mock"\nmodels = ["m"]\n')
    plan_site(site, load_settings(), site.tomls()).write()
    (site.conf_d / "mine.conf").write_text("[program:mine]\ncommand=x\n[program:own]\ncommand=x\nstdout_logfile=o.log")
    assert {name: path.name for name, path in files(site).items()} == {
        "registry": "registry_18000.log",
        "router": "router_8000.log",
        "own": "o.log",
        "q:server": "server_q.log",
        "q:babysitter": "babysitter_q.log",
        "supervisord": "supervisord.log",
    }
    (site.conf_d / "mine.conf").write_text("[program:mine]\n")
    with pytest.raises(CommandError, match=r"^supervisord.conf: supervisord would refuse it: .*; run svc render$"):
        files(site)


def test_lines_of_several_programs_begin_with_their_name():
    out = io.BytesIO()
    shown = Shown(LogOutput(out, colours=False), several=True)
    shown.write("a", [b"one", b"1%\r2%", b"\xff"])
    shown.write("b", [])
    assert out.getvalue().decode() == "a | one\na | 1%\na | 2%\na | \ufffd\n"


def test_colours_tell_programs_apart_on_a_terminal():
    out = io.BytesIO()
    shown = Shown(LogOutput(out, colours=True), several=True)
    for name in ("a", "b", "a"):
        shown.write(name, [b"x"])
    first, second, again = out.getvalue().splitlines()
    assert first == again == b"\x1b[36ma |\x1b[0m x"
    assert second == b"\x1b[33mb |\x1b[0m x"


def test_lines_of_one_program_are_as_they_are():
    out = io.BytesIO()
    Shown(LogOutput(out, colours=True), several=False).write("a", [b"one"])
    assert out.getvalue() == b"one\n"
