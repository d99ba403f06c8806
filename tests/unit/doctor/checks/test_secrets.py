"""Findings about files with secrets and about command lines."""

import dataclasses

import pytest

from svc.config.instance.model import MockBackend
from svc.doctor.facts import (
    API_KEYS,
    ENGINE_KEY,
    UPSTREAM_KEYS,
    SecretFileFacts,
    SiteFiles,
)
from svc.doctor.findings import PROBLEM, WARNING
from tests.unit.doctor import sample_site
from tests.unit.doctor.sample_site import findings


def configs(**env: dict[str, str]):
    return {
        name: dataclasses.replace(sample_site.config(name, 8100), backend=MockBackend(models=("m",), env=given))
        for name, given in env.items()
    }


@pytest.mark.parametrize(
    ("secret", "text", "severity"),
    [
        (SecretFileFacts("t", "token_file", missing=True), "no such file", PROBLEM),
        (SecretFileFacts("t", "token_file", problem="permission denied"), "permission denied", PROBLEM),
        (SecretFileFacts("t", "token_file", word_count=0), "is empty", PROBLEM),
        (SecretFileFacts("t", "token_file", word_count=2), "is no token", PROBLEM),
        (SecretFileFacts("t", "token_file", errors=("t: not a token file",)), "cannot be used", PROBLEM),
        (SecretFileFacts("t", "token_file", mode=0o644), "readable by all users", WARNING),
        (SecretFileFacts("t", "keys_file", missing=True, kind=API_KEYS), "no such file", PROBLEM),
        (SecretFileFacts("t", "keys_file", errors=("t: not TOML",), kind=API_KEYS), "cannot be used", PROBLEM),
        (SecretFileFacts("t", "api_key_file", word_count=2, kind=ENGINE_KEY), "is no key", PROBLEM),
        (
            SecretFileFacts("t", "upstream_keys_file", word_count=9, mode=0o644, kind=UPSTREAM_KEYS),
            "readable by all users",
            WARNING,
        ),
        (
            SecretFileFacts("t", "upstream_keys_file", kind=UPSTREAM_KEYS, errors=("t: not TOML",)),
            "cannot be used",
            PROBLEM,
        ),
    ],
)
def test_a_wrong_file_with_a_secret_is_found(secret, text, severity):
    [result] = findings(secrets=[secret]).values()
    assert text in result.summary
    assert result.severity == severity


def test_the_cure_of_a_readable_token_leaves_it_to_the_programs_that_read_it():
    own = SecretFileFacts("t", "token_file", mode=0o644)
    assert findings(secrets=[own])["mode.t"].fix == "chmod o= t"
    other = dataclasses.replace(own, reader_gid=70)
    assert findings(secrets=[other])["mode.t"].fix == "sudo chgrp 70 t && sudo chmod g=r,o= t"
    container = SiteFiles(in_foreground=True)
    assert findings(secrets=[other], files=container) == {}, "a mounted file, whose mode is the host's"
    assert "mode.t" in findings(secrets=[own], files=container)


def test_a_token_that_its_group_can_read_is_no_finding():
    assert findings(secrets=[SecretFileFacts("t", "token_file", mode=0o640)]) == {}


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--api-key", "sk-hidden"), "a secret (api-key)"),
        (("--db", "postgres://user:sk-hidden@db/x"), "a secret"),
        (("--api-key-file", "/etc/key", "--max-tokens", "9"), ""),
    ],
)
def test_a_secret_in_a_command_line_is_a_warning_that_masks_it(args, text):
    config = sample_site.config("a", 8100, backend=MockBackend(models=("m",), args=args))
    result = findings(configs={"a": config})
    if not text:
        assert result == {}
        return
    finding = result["command_line.a"]
    assert finding.severity == WARNING
    assert text in finding.summary
    assert "sk-hidden" not in str(finding)


def test_a_file_mode_does_not_explain_a_refused_key():
    secret = SecretFileFacts("keys", "upstream_keys_file", mode=0o644, kind=UPSTREAM_KEYS)
    assert not any(key.startswith("token.") for key in findings(secrets=[secret]))


@pytest.mark.parametrize(
    ("more", "fix"),
    [
        ({}, "sudo chown $(id -u) '/a b/t'"),
        ({"closed_directory": "/a b"}, "sudo chmod o+x '/a b'"),
        ({"owner_uid": 7}, "sudo chgrp $(id -g) '/a b/t' && sudo chmod g+r '/a b/t'"),
    ],
)
def test_a_file_that_cannot_be_read_is_taken_from_no_other_user(more, fix):
    secret = SecretFileFacts("/a b/t", "token_file", problem="permission denied", **more)
    assert findings(secrets=[secret])["token./a b/t"].fix == fix
