"""Commands in hints work from the user's directory, in svc's own environment."""

import shlex
import sys
from importlib import metadata

import pytest

from svc.base import own_commands
from svc.base.own_commands import command_name, pip_install, program_beside, with_usable_commands


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A site with the environment of svc in .venv, which is not in PATH."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("svc", "supervisorctl", "pip", "python"):
        (programs / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setattr(sys, "argv", [str(programs / "svc")])
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    return programs


def test_a_program_outside_of_path_has_its_path(environment, monkeypatch):
    assert (command_name(), program_beside("supervisorctl")) == (".venv/bin/svc", ".venv/bin/supervisorctl")
    monkeypatch.chdir("/")
    assert program_beside("pip") == str(environment / "pip").lstrip("/")


def test_a_path_with_blanks_is_quoted(environment, tmp_path, monkeypatch):
    (tmp_path / ".venv").rename(tmp_path / "my venv")
    program = tmp_path / "my venv" / "bin" / "svc"
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    commands = (command_name(), program_beside("supervisorctl"), own_commands.pip_command())
    assert commands == ("'my venv/bin/svc'", "'my venv/bin/supervisorctl'", "'my venv/bin/pip'")
    assert shlex.split(own_commands.in_directory(tmp_path / "a b", "down"))[1:] == [
        str(tmp_path / "a b"),
        "&&",
        str(program),
        "down",
    ]


def test_a_program_in_path_has_its_name_only(environment, monkeypatch):
    monkeypatch.setenv("PATH", str(environment))
    assert (command_name(), program_beside("supervisorctl")) == ("svc", "supervisorctl")


def test_a_module_that_python_runs_is_called_in_the_same_way(environment, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/checkout/svc/__main__.py"])
    assert command_name() == ".venv/bin/python -m svc"


def test_commands_in_a_message_work_where_svc_is_not_in_path(environment, monkeypatch):
    message = "conf.d: stale, not made by svc render; run `svc render`, then `supervisorctl status`"
    assert with_usable_commands(message) == (
        "conf.d: stale, not made by svc render; run `.venv/bin/svc render`, then `.venv/bin/supervisorctl status`"
    )
    monkeypatch.setenv("PATH", str(environment))
    assert with_usable_commands(message) == message


def test_another_environments_program_is_not_meant(environment, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "supervisorctl").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(other))
    assert program_beside("supervisorctl") == ".venv/bin/supervisorctl"


def test_an_extra_is_installed_by_its_packages(environment, monkeypatch):
    requirements = ["flask>=3.1", 'redis<9,>=5; extra == "redis"', 'xllamacpp==1.*; extra == "llama"']
    monkeypatch.setattr(metadata, "requires", lambda name: requirements)
    assert shlex.split(pip_install("redis")) == [".venv/bin/pip", "install", "redis<9,>=5"]
    (environment / "pip").unlink()
    assert pip_install("llama") == "python3 -m pip --python .venv/bin/python install 'xllamacpp==1.*'"


def test_the_extras_in_hints_exist():
    for extra, package in (("redis", "redis"), ("llama", "xllamacpp")):
        assert f"install '{package}" in pip_install(extra)
    assert own_commands.DISTRIBUTION in pip_install("no-such-extra")
