"""Wrong use of `svc engine`, before anything is asked."""

import pytest
from click.testing import CliRunner

from svc.cli.main import svc

LOAD = "/v1/load_lora_adapter"


@pytest.fixture
def runner(tmp_path, monkeypatch) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    return CliRunner()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["OPTIONS", LOAD, "--all"], "'OPTIONS' is not one of"),
        (["POST", "v1/sleep", "--all"], "'v1/sleep' is no path of a server"),
        (["POST", "/a b", "--all"], "'/a b' is no path of a server"),
        (["POST", "/a\r\nX: y", "--all"], "is no path of a server"),
        (["POST", LOAD, "--all", "--json", "{lora_name: x}"], "not JSON"),
        (["POST", LOAD, "--all", "--json", "@nowhere.json"], "nowhere.json: cannot read it"),
        (["POST", LOAD, "--all", "--timeout", "0"], "--timeout"),
    ],
)
def test_wrong_use_exits_with_2_and_says_what_is_wrong(runner, arguments, error):
    result = runner.invoke(svc, ["engine", *arguments])
    assert result.exit_code == 2
    assert error in result.stderr


def test_a_registry_that_does_not_answer_is_an_error_with_the_cure(runner):
    result = runner.invoke(svc, ["engine", "GET", "/version", "--all", "--registry-url", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "give its address with --registry-url" in result.stderr


def test_a_site_without_a_registry_has_only_its_static_services(runner, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "svc.toml").write_text(
        '[router]\nstatic_services = "static.json"\n[launch]\ncomponents = "router"\n'
    )
    (tmp_path / "static.json").write_text('[{"name": "a", "host": "h", "port": 1, "metadata": {"models": ["m"]}}]')
    result = runner.invoke(svc, ["engine", "GET", "/version"])
    assert result.exit_code == 2
    assert "the models are: m" in result.stderr
