"""The registry and the router that a command uses, and the errors of a registry in words for the operator."""

import os

import pytest

from svc.base.errors import CommandError, Forbidden, NotFound, Unauthorized, Unavailable
from svc.client.registry import RegistryFailed
from svc.config.settings_file import load_settings
from svc.site.access import (
    RegistryUnreachable,
    checked_urls,
    explaining_errors,
    operator_user,
    registry_url,
    router_url,
)


class FakeRegistry:
    """A client as `explaining_errors` uses it."""

    urls = ("http://registry:18000",)

    def __init__(self, token_file=""):
        self.token_file = token_file


def test_a_site_uses_its_own_servers_unless_others_are_named():
    own = load_settings()
    assert (registry_url(own), router_url(own)) == ("http://127.0.0.1:18000", "http://127.0.0.1:8000")
    named = load_settings(flags={"launch": {"registry_url": "http://a:1/,http://b:1", "router_url": "http://c:2/"}})
    assert (registry_url(named), router_url(named)) == ("http://a:1,http://b:1", "http://c:2")


@pytest.mark.parametrize("url", ["registry:18000", "ftp://registry", "http://", "http://host:0", "http://host:port"])
def test_a_text_that_is_no_url_is_refused_with_an_example(url):
    with pytest.raises(CommandError, match=r"is no URL of a registry; write it as http://HOST:18000"):
        checked_urls(url, "registry", 18000)


@pytest.mark.parametrize(
    ("error", "token_file", "cure"),
    [
        (Unauthorized("a token is needed"), "", "give the registry's token with --token-file"),
        (Unauthorized("wrong token"), "/t", "/t was shown: is its token this registry's?"),
        (Forbidden("read only"), "", "--token-file"),
        (NotFound("no such path"), "", "is no registry; give the registry's address with --registry-url"),
    ],
)
def test_a_refusal_names_the_action_and_the_cure(error, token_file, cure):
    with (
        pytest.raises(CommandError) as raised,
        explaining_errors("drain a", FakeRegistry(token_file), "is no registry"),
    ):
        raise error
    assert raised.value.message.startswith("cannot drain a: ")
    assert cure in raised.value.message


def test_a_registry_s_own_failure_is_no_wrong_address():
    with pytest.raises(RegistryUnreachable) as raised, explaining_errors("drain a", FakeRegistry()):
        raise RegistryFailed("the registry at http://r:1 answered 503: Redis does not answer")
    assert raised.value.message == "cannot drain a: the registry at http://r:1 answered 503: Redis does not answer"


def test_a_registry_that_does_not_answer_is_told_apart():
    with pytest.raises(RegistryUnreachable, match=r"--registry-url"), explaining_errors("drain a", FakeRegistry()):
        raise Unavailable("connection refused")


def test_the_operator_is_the_user_who_runs_sudo(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "jörg")
    assert operator_user() == "j_rg"
    monkeypatch.delenv("SUDO_USER")
    assert operator_user() == "root"


def test_only_root_was_started_by_sudo_and_a_user_may_have_no_name(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 123456)
    monkeypatch.setenv("SUDO_USER", "alice")
    assert operator_user() == "uid-123456"
