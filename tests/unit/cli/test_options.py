"""The values of options that several commands share."""

import click
import pytest
from click.testing import CliRunner

from svc.cli.main import svc
from svc.cli.options import Seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("30s", 30), ("0", 0), ("0.5s", 0.5), ("5m", 300), ("1.5h", 5400), (7.0, 7)]
)
def test_a_time_is_in_seconds_or_has_a_unit(text: object, seconds: float):
    assert Seconds().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "30 s", "1d", "30sec", "1e3", "nan", "1m30s"])
def test_any_other_text_is_no_time(text: str):
    with pytest.raises(click.BadParameter, match="is no time; give seconds, or 30s, 5m, 1h"):
        Seconds().convert(text, None, None)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ["rollout", "restart", "a", "--handover", "60", "--drain-timeout", "60"],
            "is 60 s, and must be less than --drain-timeout (60 s)",
        ),
        (["apply", "--handover", "1h"], "is 3600 s, and must be less than --drain-timeout (1800 s)"),
        (["drain", "a", "--handover", "10m"], "is 600 s, and must be less than --timeout (600 s)"),
        (["drain", "a", "--handover", "soon"], "is no time"),
    ],
)
def test_a_handover_that_would_come_too_late_is_refused(arguments: list[str], problem: str, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(svc, arguments)
    assert result.exit_code == 2
    assert problem in result.output


@pytest.mark.parametrize(
    ("command", "is_refused"),
    [("check", True), ("render", True), ("plan", True), ("apply", True), ("router", False), ("status", False)],
)
@pytest.mark.usefixtures("restored_logging")
def test_a_wrong_rule_stops_neither_servers_nor_commands_that_observe(
    command: str, is_refused: bool, tmp_path, monkeypatch
):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "svc.toml").write_text("[[model]]\nname = 'qwen'\nawake_max = 'two'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("svc.router.serve.serve", lambda settings, fd: print("the router serves"))
    result = CliRunner().invoke(svc, [command])
    assert ("awake_max: must be a whole number" in result.output) == is_refused, result.output
