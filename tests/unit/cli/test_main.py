"""The command line itself: help, exit codes, errors in one line."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from svc.base.errors import ConfigError
from svc.cli.main import COMMANDS, HIDDEN_COMMANDS, svc


@pytest.fixture
def runner(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return CliRunner()


def commands() -> list[str]:
    return svc.list_commands(click.Context(svc))


def test_the_documented_commands_exist():
    assert {"check", "render", "up", "down", "status", "registry", "router", "babysitter", "run", "mock"} <= set(
        commands()
    )


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help(runner, command):
    result = runner.invoke(svc, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_the_table_has_the_first_sentence_of_each_commands_help():
    context = click.Context(svc)
    sentences = {name: svc.get_command(context, name).get_short_help_str(limit=1000) for name in commands()}
    hidden = {name for name in commands() if svc.get_command(context, name).hidden}
    assert {name: sentences[name] for name in COMMANDS} == COMMANDS
    assert hidden == set(HIDDEN_COMMANDS)


def test_help_has_whole_summaries_in_80_columns(runner):
    text = runner.invoke(svc, ["--help"], terminal_width=80).output
    lines = text.partition("Commands:\n")[2].splitlines()
    assert len(lines) == len(COMMANDS) - len(HIDDEN_COMMANDS)
    assert all(line.endswith(".") and "..." not in line for line in lines)
    assert "last lines of log files, and follow them." in text


def test_help_of_a_group_has_whole_summaries(runner):
    text = " ".join(runner.invoke(svc, ["keys", "--help"]).output.split())
    assert "add Make a key and print its secret. list Show every key: name, time of creation, limits" in text
    assert "..." not in text.partition("Commands:")[2]


def test_help_loads_no_command():
    code = "import sys; from svc.cli.main import svc; svc(['--help'], standalone_mode=False); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    modules = set(out.splitlines()[-1].split())
    loaded = {name.removeprefix("svc.cli.") for name in modules if name.startswith("svc.cli.")}
    assert not loaded & set(COMMANDS)
    assert not modules & {"requests", "rich", "gevent", "flask", "supervisor"}


@pytest.mark.parametrize(
    ("server", "unused"),
    [
        ("svc.registry.app, svc.client.probe", {"requests", "urllib3"}),
        ("svc.router.app, svc.router.router_components, svc.router.worker", {"requests", "urllib3"}),
        ("svc.babysitter.serve", {"prometheus_client"}),
        ("svc.mock.server", {"requests", "werkzeug", "gevent.monkey"}),
        ("svc.supervision.launch", {"click", "logging", "pathlib"}),
    ],
)
def test_a_server_starts_without_the_libraries_that_few_need(server, unused):
    code = f"import sys, {server}; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert not unused & set(out.split())


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["statsu"], "svc statsu; did you mean svc status?"),
        (["zzz"], "svc zzz; `svc --help` lists the commands"),
        (["keys", "lst"], "svc keys lst; did you mean svc keys list?"),
        (["services", "qwen"], "svc services qwen; did you mean svc services show qwen?"),
        (["services", "wacht"], "svc services wacht; did you mean svc services watch?"),
        (["rollout", "zzz"], "svc rollout zzz; `svc rollout --help` lists the commands"),
    ],
)
def test_a_wrong_word_is_answered_in_one_line_with_the_nearest_command(runner, arguments, cure):
    result = runner.invoke(svc, arguments, prog_name="svc")
    assert (result.exit_code, result.stderr) == (2, f"svc: there is no command {cure}\n")


def test_a_verb_of_other_programs_is_answered_with_the_right_command(runner, monkeypatch):
    monkeypatch.setattr("svc.cli.main.command_name", lambda: "bin/svc")
    monkeypatch.setattr("svc.cli.options.program_beside", lambda name: f"bin/{name}")
    result = runner.invoke(svc, ["start", "qwen"], prog_name="svc")
    assert result.exit_code == 2
    assert result.stderr.startswith("svc: there is no command svc start: `bin/supervisorctl start qwen:*` starts ")


def test_help_shows_defaults_and_variables(runner):
    text = " ".join(runner.invoke(svc, ["router", "--help"]).output.split())
    assert "[default: 67108864]" in text
    assert "[PROXY_TIMEOUT_SECONDS: 1800]" in text
    assert "--port, --router-port" in text


@pytest.mark.parametrize(
    "arguments",
    [["no-such"], ["up", "--no-such"], ["run"], ["down", "--port", "1"], ["down", "qwen"], ["up", "--only", "x"]],
)
def test_wrong_use_exits_with_2(runner, arguments):
    assert runner.invoke(svc, arguments).exit_code == 2


def test_each_problem_is_one_line_on_stderr_with_exit_code_1(runner, tmp_path, monkeypatch):
    (tmp_path / "supervisord.conf").touch()

    def fail(*_: object) -> None:
        raise ConfigError("a.toml: x: wrong", "b.toml: y: wrong")

    monkeypatch.setattr("svc.cli.check.load", fail)
    result = runner.invoke(svc, ["check"])
    assert result.exit_code == 1
    assert result.stderr == "svc: a.toml: x: wrong\nsvc: b.toml: y: wrong\n"
    assert result.stdout == ""


def test_render_writes_files_and_checks_them(runner, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "a.toml").write_text('name = "a"\nport = 8100\n[backend]\ntype = "mock"\nmodels = ["m"]\n')
    assert runner.invoke(svc, ["render", "--check"]).exit_code == 1
    assert "+command=svc launch --port 8100" in runner.invoke(svc, ["render", "--diff"]).output
    assert not any((tmp_path / name).exists() for name in ("conf.d", "logs", "var"))
    result = runner.invoke(svc, ["render"])
    assert "conf.d/a.conf: new\n" in result.output
    assert runner.invoke(svc, ["render", "--check", "--diff"]).output == ""
    (tmp_path / "conf.d" / "a.conf").write_text((tmp_path / "conf.d" / "a.conf").read_text().replace("8100", "8102"))
    result = runner.invoke(svc, ["render", "--check", "--diff"])
    assert result.exit_code == 1
    assert "-command=svc launch --port 8102" in result.stdout
    assert "+command=svc launch --port 8100" in result.stdout
    assert result.stderr == "svc: conf.d: stale; run `svc render`\n"


def test_render_ignores_the_environment(runner, tmp_path):
    (tmp_path / "config").mkdir()
    assert runner.invoke(svc, ["render"], env={"ROUTER_PORT": "9000", "LAUNCH_COMPONENTS": "router"}).exit_code == 0
    assert "tcp://127.0.0.1:8000" in (tmp_path / "conf.d" / "router.conf").read_text()
    assert (tmp_path / "conf.d" / "registry.conf").exists()


def test_render_writes_nginx_files_from_the_settings(runner, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "svc.toml").write_text('[nginx]\ncertificate = "/c.pem"\n')
    result = runner.invoke(svc, ["render", "--nginx"])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("svc: config/svc.toml: [nginx] key: missing; ")
    (tmp_path / "config" / "svc.toml").write_text('[nginx]\ncertificate = "/c.pem"\nkey = "/k.pem"\n')
    result = runner.invoke(svc, ["render", "--nginx", "--check"])
    assert (result.exit_code, result.stderr) == (1, "svc: nginx: stale; run `svc render --nginx`\n")
    result = runner.invoke(svc, ["render", "--nginx"], env={"ROUTER_PORT": "9000"})
    assert result.output == "nginx/server.conf: new\nnginx/upstream.conf: new\n"
    assert "127.0.0.1:8000;" in (tmp_path / "nginx" / "upstream.conf").read_text()
    assert not (tmp_path / "conf.d").exists()
    assert runner.invoke(svc, ["render", "--nginx", "--check"]).exit_code == 0


@pytest.mark.parametrize("arguments", [["--from-registry"], ["--nginx", "--registry-url", "x"], ["--token-file", "x"]])
def test_the_registry_is_for_nginx_only(runner, arguments):
    assert runner.invoke(svc, ["render", *arguments]).exit_code == 2
