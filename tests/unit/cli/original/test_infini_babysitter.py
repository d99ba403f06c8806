"""infini-babysitter with flags that cannot be used."""

from click.testing import CliRunner

from svc.base.errors import ConfigError
from svc.cli.original import infini_babysitter


def test_a_flag_that_is_not_utf_8_is_one_problem(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--port", "8100", "--command", "true", "--env", "A=\udcff"]
    result = CliRunner().invoke(infini_babysitter.command, flags)
    assert isinstance(result.exception, ConfigError)
    assert "not UTF-8" in str(result.exception)
