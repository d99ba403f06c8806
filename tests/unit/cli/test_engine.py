"""Wrong use of `svc engine`, before anything is asked."""

import pytest
from click.testing import CliRunner

from svc.cli.engine import keys_of
from svc.cli.main import svc
from svc.config.settings_file import load_settings
from tests.unit.router.made import target

LOAD = "/v1/load_lora_adapter"


@pytest.fixture
def runner(tmp_path, monkeypatch) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    return CliRunner()


@pytest.mark.parametrize(
    ("words", "error"),
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
def test_wrong_use_exits_with_2_and_says_what_is_wrong(runner, words, error):
    result = runner.invoke(svc, ["engine", *words])
    assert result.exit_code == 2
    assert error in result.stderr


def test_a_registry_that_does_not_answer_is_an_error_with_the_cure(runner):
    result = runner.invoke(svc, ["engine", "GET", "/version", "--all", "--registry-url", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "give its address with --registry-url" in result.stderr


def test_the_key_of_a_toml_goes_to_the_address_of_that_toml_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, port in (("a", 8100), ("b", 8110)):
        path = tmp_path / "config" / f"{name}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'name = "{name}"\nport = {port}\n[backend]\ntype = "command"\ncommand = "true"\n'
            f'api_key_file = "{name}.key"\n'
        )
    (tmp_path / "a.key").write_text("key-of-a\n")  # that of b is missing, which is for `svc check` to tell
    (tmp_path / "keys.toml").write_text('[instances]\na-server = "other"\n[models]\nm = "key-of-m"\n')
    find = keys_of(load_settings(flags={"router": {"upstream_keys_file": "keys.toml"}}))
    assert find(target("a-server", "m", url="http://localhost:8100")) == "key-of-a"
    assert find(target("a-server", "m", url="http://elsewhere:8100")) == "other"
    assert find(target("b-server", "m", url="http://localhost:8110")) == "key-of-m"
    assert find(target("c-server", "n", url="http://localhost:8120")) == ""


def test_a_site_without_a_registry_has_its_static_services_alone(runner, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "svc.toml").write_text(
        '[router]\nstatic_services = "static.json"\n[launch]\ncomponents = "router"\n'
    )
    (tmp_path / "static.json").write_text('[{"name": "a", "host": "h", "port": 1, "metadata": {"models": ["m"]}}]')
    result = runner.invoke(svc, ["engine", "GET", "/version"])
    assert result.exit_code == 2
    assert "the models are: m" in result.stderr
