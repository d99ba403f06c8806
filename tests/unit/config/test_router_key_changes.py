"""API keys are added to the file of keys and revoked, and no secret is kept."""

import dataclasses

import pytest

from svc.base.errors import CommandError
from svc.config import router_keys
from svc.config.router_key_changes import add_key, change_key, discard_key, find_key, revoke_key


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.toml"


def add(path, name="ci"):
    return add_key(path, name, {"requests_per_minute": 60, "note": "nightly"})


def test_the_file_keeps_the_digest_of_a_secret_only(path):
    secret = add(path)
    entry = router_keys.read(path)["ci"]
    assert (entry.sha256, entry.requests_per_minute, entry.note) == (router_keys.digest(secret), 60, "nightly")
    assert secret not in path.read_text()


def test_two_keys_have_different_secrets(path):
    assert add(path, "ci") != add(path, "demo")


def test_a_name_is_given_only_once(path):
    add(path)
    before = path.read_text()
    with pytest.raises(CommandError, match=r"there is a key 'ci' already.*svc keys revoke ci"):
        add(path)
    assert path.read_text() == before


def test_a_revoked_key_leaves_the_others(path):
    add(path, "ci")
    add(path, "demo")
    revoke_key(path, "ci")
    assert list(router_keys.read(path)) == ["demo"]


def test_a_key_that_is_not_there_is_refused_with_a_similar_name(path):
    add(path, "nightly")
    with pytest.raises(CommandError, match=r"no key 'nightli'; did you mean nightly\?"):
        revoke_key(path, "nightli")


def test_revoking_without_a_file_creates_none(path):
    with pytest.raises(CommandError, match="there is no such file"):
        revoke_key(path, "ci")
    assert not path.exists()


def test_a_key_whose_secret_was_lost_can_be_discarded_twice(path):
    add(path)
    discard_key(path, "ci")
    discard_key(path, "ci")
    assert router_keys.read(path) == {}


def test_a_change_keeps_the_secret_and_everything_else(path):
    add(path)
    kept = find_key(path, "ci")
    before, after = change_key(path, "ci", {"tokens_per_day": 1000, "requests_per_minute": None})
    assert before == kept
    assert after == dataclasses.replace(kept, tokens_per_day=1000, requests_per_minute=None) == find_key(path, "ci")


def test_a_change_of_a_key_that_is_not_there_is_refused(path):
    for act in (find_key, lambda path, name: change_key(path, name, {"share": 2.0})):
        with pytest.raises(CommandError, match="there is no such file"):
            act(path, "ci")
    add(path, "nightly")
    with pytest.raises(CommandError, match=r"no key 'nightli'; did you mean nightly\?"):
        change_key(path, "nightli", {"share": 2.0})
