"""`svc keys`: the secret alone goes to stdout, and the site's file of keys is found."""

import dataclasses
import datetime
import json

import pytest
from click.testing import CliRunner

from svc.cli.keys import set_key
from svc.cli.main import svc
from svc.config import router_keys
from svc.config.router_key_entry import FIELDS


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


def test_a_key_gets_a_whole_policy(run, tmp_path):
    arguments = "--tokens-per-minute 1000 --tokens-per-day 50000 --share 2.5 --priority -1 --models qwen*,llama3"
    assert run("add", "ci", *arguments.split(), "--expires", "2999-01-31", "--front").exit_code == 0
    shown = json.loads(run("show", "ci", "--json").stdout)
    assert {field: shown[field] for field in ("tokens_per_minute", "tokens_per_day", "share", "priority", "front")} == {
        "tokens_per_minute": 1000,
        "tokens_per_day": 50000,
        "share": 2.5,
        "priority": -1,
        "front": True,
    }
    assert shown["models"] == ["qwen*", "llama3"]
    assert shown["expires"] == "2999-01-31T00:00:00Z"
    lines = dict(line.split(None, 1) for line in run("show", "ci").stdout.splitlines())
    assert (lines["share"], lines["models"], lines["concurrency"]) == ("2.5", "qwen*,llama3", "-")
    head, row = run("list").stdout.splitlines()
    assert row[head.index("TOKENS/DAY") :].split()[:3] == ["50000", "2.5", "-1"]


def test_set_changes_what_is_given_and_says_what_it_was(run, tmp_path):
    run("add", "ci", "--concurrency", "4", "--note", "nightly", "--operator")
    before = router_keys.read(tmp_path / "var/keys.toml")["ci"]
    changed = run("set", "ci", "--tokens-per-minute", "1000", "--concurrency", "none", "--no-operator", "--note", "")
    assert changed.exit_code == 0
    after = router_keys.read(tmp_path / "var/keys.toml")["ci"]
    assert after == dataclasses.replace(before, tokens_per_minute=1000, concurrency=None, operator=False, note="")
    assert "key 'ci': tokens_per_minute: 1000 (was -)" in changed.stderr
    assert "key 'ci': concurrency: - (was 4)" in changed.stderr
    assert before.sha256 not in changed.stderr
    assert "has these values already" in run("set", "ci", "--tokens-per-minute", "1000").stderr


def test_everything_that_can_be_set_can_be_taken_back(run, tmp_path):
    run("add", "ci")
    before = router_keys.read(tmp_path / "var/keys.toml")["ci"]
    run(
        "set",
        "ci",
        *["--models", "a", "--expires", "90d", "--share", "3", "--priority", "5", "--front", "--tokens-per-day", "7"],
    )
    run("set", "ci", "--models", "*", "--expires", "none", "--share", "1", "--priority", "0", "--no-front")
    run("set", "ci", "--tokens-per-day", "")
    assert router_keys.read(tmp_path / "var/keys.toml")["ci"] == before


def test_a_period_counts_from_now(run):
    run("add", "ci", "--expires", "36h")
    expires = datetime.datetime.fromisoformat(json.loads(run("show", "ci", "--json").stdout)["expires"][:-1])
    left = expires - datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    assert datetime.timedelta(hours=35, minutes=59) < left <= datetime.timedelta(hours=36)


def test_an_empty_list_names_the_command_that_adds_a_key(run):
    assert "svc keys add NAME" in run("list").stderr


def test_a_missing_file_that_the_router_reads_is_no_empty_list(run, monkeypatch):
    monkeypatch.setenv("ROUTER_KEYS_FILE", "var/keys.toml")
    assert "var/keys.toml: no such file; make the first key with `svc keys add NAME`" in run("list").stderr


def test_the_list_marks_expired_keys(run, tmp_path):
    run("add", "ci", "--expires", "1h")
    run("add", "gone", "--expires", "2h")
    path = tmp_path / "var/keys.toml"
    expires = json.loads(run("show", "gone", "--json").stdout)["expires"]
    path.write_text(path.read_text().replace(expires, "2020-01-01T00:00:00Z"))
    _, valid, expired = run("list").stdout.splitlines()
    assert "2020-01-01T00:00:00Z (expired)" in expired
    assert "(expired)" not in valid


def test_none_makes_share_and_priority_the_default_again(run):
    run("add", "ci", "--share", "4", "--priority", "-3")
    assert run("set", "ci", "--share", "none", "--priority", "none").exit_code == 0
    key = json.loads(run("show", "ci", "--json").stdout)
    assert (key["share"], key["priority"]) == (1, 0)


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
        (["add", "ci", "--tokens-per-day", "many"], "'many' is no whole number from 1 to 1000000000000000"),
        (["add", "ci", "--share", "0"], "--share"),
        (["add", "ci", "--priority", "101"], "--priority"),
        (["add", "ci", "--models", "a,,b"], "--models: '' is no pattern"),
        (["add", "ci", "--expires", "soon"], "--expires: 'soon' is no time; give 90d"),
        (["add", "ci", "--expires", "0d"], "--expires: '0d' is no time; give 90d"),
        (["add", "ci", "--share", "half"], "'half' is not a valid number"),
        (["add", "ci", "--expires", "2020-01-01"], "has passed; to end the key now, use `svc keys revoke`"),
        (["add", "ci", "--models", "none"], "--models: 'none' could mean all or no models; give '*' for all"),
        (["set", "ci"], "nothing to change; give at least one option"),
    ],
)
def test_a_wrong_argument_is_refused_and_makes_no_file(run, tmp_path, arguments, error):
    result = run(*arguments)
    assert result.exit_code == 2
    assert error in result.stderr
    assert not (tmp_path / "var/keys.toml").exists()


def test_each_field_of_a_key_has_an_option():
    options = {parameter.name for parameter in set_key.params}
    assert options == {field.name for field in FIELDS} - {"sha256", "created"} | {"name", "file"}
