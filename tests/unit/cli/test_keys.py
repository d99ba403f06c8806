"""`svc keys`: the secret alone goes to stdout, and the site's file of keys is found."""

import json

import pytest
from click.testing import CliRunner

from svc.cli.main import svc
from svc.config import router_keys


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROUTER_KEYS_FILE", raising=False)
    return lambda *arguments: CliRunner().invoke(svc, ["keys", *arguments])


def test_only_the_secret_goes_to_stdout(run, tmp_path):
    added = run("add", "ci", "--requests-per-minute", "60")
    assert added.exit_code == 0
    [secret] = added.stdout.splitlines()
    assert router_keys.read(tmp_path / "var/keys.toml")["ci"].sha256 == router_keys.digest(secret)


def test_a_file_that_the_router_does_not_read_is_followed_by_the_setting(run, monkeypatch):
    assert "set keys_file = " in run("add", "ci").stderr
    monkeypatch.setenv("ROUTER_KEYS_FILE", "var/keys.toml")
    assert "set keys_file" not in run("add", "demo").stderr


def test_the_list_shows_limits_and_no_secret(run):
    secret = run("add", "ci", "--concurrency", "4", "--operator").stdout.strip()
    head, row = run("list").stdout.splitlines()
    assert row.split()[0] == "ci"
    assert row[head.index("AT ONCE") :].split()[:2] == ["4", "yes"]
    assert row[head.index("PER MINUTE")] == "-"
    [entry] = json.loads(run("list", "--json").stdout)["keys"]
    assert secret not in row + json.dumps(entry)
    assert (entry["concurrency"], entry["requests_per_minute"], entry["operator"]) == (4, None, True)


def test_an_empty_list_names_the_command_that_adds_a_key(run):
    assert "svc keys add NAME" in run("list").stderr


def test_a_revoked_key_is_gone(run):
    run("add", "ci")
    assert run("revoke", "ci").exit_code == 0
    assert json.loads(run("list", "--json").stdout) == {"keys": []}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["add", "a b"], "NAME: 'a b' is no name"),
        (["add", "ci", "--note", "two\nlines"], "--note: must be one line of text"),
        (["add", "ci", "--concurrency", "0"], "--concurrency"),
    ],
)
def test_a_wrong_argument_is_refused_and_makes_no_file(run, tmp_path, arguments, error):
    result = run(*arguments)
    assert result.exit_code == 2
    assert error in result.stderr
    assert not (tmp_path / "var/keys.toml").exists()
