"""Who a request is of, what a key may send, and a file that changes under it."""

import dataclasses
import datetime
import logging
import os
from pathlib import Path

import pytest

from svc.base.errors import ConfigError, RateLimited, Unauthorized
from svc.config import router_keys
from svc.config.router_key_entry import KeyEntry
from svc.router.balance.account import Account
from svc.router.proxy.api_keys import ApiKey, ApiKeys

NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.timezone.utc)


def entry(secret: str, requests_per_minute: int | None = None, concurrency: int | None = None) -> KeyEntry:
    return KeyEntry(router_keys.digest(secret), NOON, requests_per_minute, concurrency)


def write(path: Path, **entries: KeyEntry) -> None:
    with router_keys.editing(path) as keys:
        keys.clear()
        keys.update(entries)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.toml"


@pytest.fixture
def keys(path):
    """Two keys, ci and dev, whose secrets are `svc-ci` and `svc-dev`."""
    write(path, ci=entry("svc-ci"), dev=entry("svc-dev"))
    keys = ApiKeys(path)
    keys.load()
    return keys


def refused(keys: ApiKeys, authorization: bytes = b"", x_api_key: bytes = b"") -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        keys.identify(authorization, x_api_key)
    return caught.value


def admitted(key: ApiKey, now: float) -> bool:
    try:
        key.admit(now)
    except RateLimited:
        return False
    return True


# Who it is.


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "name"),
    [
        (b"Bearer svc-ci", b"", "ci"),
        (b"bearer  svc-ci ", b"", "ci"),
        (b"", b"svc-dev", "dev"),
        (b"Bearer svc-ci", b"svc-dev", "ci"),
        (b"Bearer of-the-instance", b"svc-dev", "dev"),
        (b"Bearer svc-ci", b"of-the-instance", "ci"),
        (b"Basic c3ZjLWNp", b"svc-dev", "dev"),
    ],
)
def test_a_key_is_known_in_either_header(keys, authorization, x_api_key, name):
    assert keys.identify(authorization, x_api_key).name == name


def test_an_expired_key_is_refused_and_says_when_it_expired(path):
    for expires, valid in ((NOON, False), (NOON.replace(year=2999), True)):
        write(path, ci=dataclasses.replace(entry("svc-ci"), expires=expires))
        keys = ApiKeys(path)
        keys.load()
        if valid:
            assert keys.identify(b"Bearer svc-ci").name == "ci"
        else:
            error = refused(keys, b"Bearer svc-ci")
            assert (error.status, error.code) == (401, "invalid_api_key")
            assert "expired on 2026-01-02 at 12:00:00 UTC" in error.message


@pytest.mark.parametrize(
    ("patterns", "model", "allowed"),
    [
        (["qwen"], "qwen", True),
        (["qwen"], "qwen2", False),
        (["qwen*"], "qwen2", True),
        (["*"], "any\nthing", True),
        (["*/Qwen*"], "Qwen/Qwen3", True),
        (["*/Qwen*"], "Qwen3", False),
        (["sonnet[1m]"], "sonnet[1m]", True),
        (["sonnet[1m]"], "sonnet1", False),
        (["a?c"], "abc", False),
        (["x", "y*"], "yes", True),
        (["Qwen"], "qwen", False),
        (["a.b"], "axb", False),
    ],
)
def test_a_pattern_is_a_name_in_which_an_asterisk_is_any_text(path, patterns, model, allowed):
    write(path, ci=dataclasses.replace(entry("svc-ci"), models=tuple(patterns)))
    keys = ApiKeys(path)
    keys.load()
    assert keys.identify(b"Bearer svc-ci").allows(model) is allowed


def test_a_key_without_patterns_may_use_every_model(keys):
    key = keys.identify(b"Bearer svc-ci")
    assert key.allows("anything")
    assert not key.restricts_models


def test_the_account_of_a_key_has_its_share_and_priority_after_each_change(path):
    write(path, ci=dataclasses.replace(entry("svc-ci"), share=2.5, priority=-3))
    keys = ApiKeys(path)
    keys.load()
    assert keys.identify(b"Bearer svc-ci").account == Account("ci", "ci", "", 2.5, -3)
    write(path, ci=entry("svc-ci"))
    keys.refresh()
    assert keys.identify(b"Bearer svc-ci").account == Account("ci", "ci")


@pytest.mark.parametrize("authorization", [b"", b"Bearer", b"Bearer  ", b"svc-ci", b"Basic svc-ci"])
def test_a_request_without_a_key_gets_instructions(keys, authorization):
    error = refused(keys, authorization)
    assert (error.status, error.code) == (401, "invalid_api_key")
    assert error.message.startswith("You didn't provide an API key.")
    assert "Authorization: Bearer YOUR_KEY" in error.message
    assert "x-api-key" in error.message


@pytest.mark.parametrize(
    "secret", [b"svc-c", b"svc-ci2", b"SVC-CI", b"\xff\x00", router_keys.digest("svc-ci").encode()]
)
def test_a_wrong_key_is_refused_and_not_shown(keys, secret):
    for error in (refused(keys, b"Bearer " + secret), refused(keys, b"", secret)):
        assert (error.status, error.code) == (401, "invalid_api_key")
        assert error.message.startswith("Incorrect API key provided.")
        assert secret.decode("latin-1") not in error.message


def test_before_the_file_is_read_every_request_is_refused(path):
    write(path, ci=entry("svc-ci"))
    refused(ApiKeys(path), b"Bearer svc-ci")


def test_nothing_printed_or_logged_shows_a_secret_or_a_digest(keys, path, caplog):
    caplog.set_level(logging.DEBUG)
    path.write_text("[keys.ci]\nsha256 = 'svc-ci'\n")
    keys.refresh()
    shown = caplog.text + repr(keys) + repr(keys.identify(b"Bearer svc-ci")) + str(refused(keys, b"Bearer svc-no"))
    assert caplog.text
    for hidden in ("svc-", router_keys.digest("svc-ci")):
        assert hidden not in shown.replace("`svc keys", "")


# The file changes.


def test_loading_a_broken_or_missing_file_raises_with_the_problem(path):
    with pytest.raises(ConfigError, match="svc keys add"):
        ApiKeys(path).load()
    path.write_text("[keys")
    with pytest.raises(ConfigError, match="not TOML"):
        ApiKeys(path).load()


def test_a_key_that_is_added_holds_and_one_that_is_revoked_does_not(keys, path):
    write(path, ci=entry("svc-ci"), new=entry("svc-new"))
    assert keys.refresh()
    assert keys.identify(b"Bearer svc-new").name == "new"
    refused(keys, b"Bearer svc-dev")


@pytest.mark.parametrize("changed", ["mtime", "size", "inode"])
def test_a_change_shows_in_time_size_or_inode(keys, path, changed):
    was = path.stat()
    text = path.read_text().replace(router_keys.digest("svc-dev"), router_keys.digest("svc-new"))
    if changed == "inode":
        (path.parent / "other").write_text(text)
        (path.parent / "other").replace(path)
    else:
        path.write_text(text + ("\n" if changed == "size" else ""))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns + (changed == "mtime")))
    assert keys.refresh()
    assert keys.identify(b"Bearer svc-new").name == "dev"


@pytest.mark.parametrize("text", ["", "[keys", "[keys.ci]\nsha256 = 1\n"])
def test_a_broken_file_keeps_the_last_good_keys_and_is_logged_once(keys, path, caplog, text):
    path.write_text(text)
    for _ in range(3):
        assert not keys.refresh()
    assert keys.identify(b"Bearer svc-ci").name == "ci"
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    write_after_all(path)
    assert keys.refresh()
    refused(keys, b"Bearer svc-ci")


def write_after_all(path: Path) -> None:
    path.write_text("[keys]\n")  # what is broken is not overwritten
    write(path, new=entry("svc-new"))


def test_a_missing_file_keeps_the_last_good_keys_and_is_logged_each_time(keys, path, caplog):
    aside = path.with_name("aside")
    for times in (1, 2):
        path.rename(aside)
        for _ in range(3):
            assert not keys.refresh()
        assert keys.identify(b"Bearer svc-ci").name == "ci"
        assert sum("cannot read" in record.message for record in caplog.records) == times
        aside.rename(path)
        assert keys.refresh()


def test_with_a_file_without_keys_every_request_is_refused(keys, path):
    write(path)
    assert keys.refresh()
    assert len(keys) == 0
    refused(keys, b"Bearer svc-ci")


def test_counts_survive_a_change_of_the_file_and_of_the_secret(path):
    write(path, ci=entry("svc-ci", 2, 9))
    keys = ApiKeys(path)
    keys.load()
    key = keys.identify(b"Bearer svc-ci")
    key.admit(0.0)
    key.admit(0.0)
    write(path, ci=entry("svc-ci-2", 2, 9), other=entry("svc-other"))
    keys.refresh()
    again = keys.identify(b"Bearer svc-ci-2")
    assert again.in_flight == 2
    assert not admitted(again, 0.0)


def test_limits_that_are_changed_hold_from_then_on(path):
    write(path, ci=entry("svc-ci"))
    keys = ApiKeys(path)
    keys.load()
    key = keys.identify(b"Bearer svc-ci")
    for _ in range(5):
        key.admit(0.0)
    write(path, ci=entry("svc-ci", None, 5))
    keys.refresh()
    assert not admitted(keys.identify(b"Bearer svc-ci"), 0.0)
    write(path, ci=entry("svc-ci", 3, None))
    keys.refresh()
    assert [admitted(keys.identify(b"Bearer svc-ci"), 0.0) for _ in range(4)] == [True] * 3 + [False]


def test_requests_in_flight_of_a_key_that_left_and_came_back_still_count(path):
    write(path, ci=entry("svc-ci", concurrency=1))
    keys = ApiKeys(path)
    keys.load()
    begun = keys.identify(b"Bearer svc-ci")
    begun.admit(0.0)
    for there in ({}, {"dev": entry("svc-dev")}, {"ci": entry("svc-new", concurrency=1)}):
        write(path, **there)
        keys.refresh()
    assert not admitted(keys.identify(b"Bearer svc-new"), 0.0)
    begun.release()
    assert admitted(keys.identify(b"Bearer svc-new"), 0.0)


def test_keys_that_left_with_nothing_in_flight_are_forgotten(keys, path):
    for number in range(5):
        write(path, **{f"key{number}": entry(f"svc-{number}")})
        keys.refresh()
    assert list(keys._keys) == ["key4"]
