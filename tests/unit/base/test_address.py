"""Hosts in URLs, for sockets and in settings."""

import pytest

from svc.base import address


@pytest.mark.parametrize(
    ("host", "bind", "local"),
    [
        ("localhost", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.1", "127.0.0.1"),
        ("gpu1", "0.0.0.0", "127.0.0.1"),
        ("10.0.0.7", "0.0.0.0", "127.0.0.1"),
        ("::1", "::1", "::1"),
        ("ip6-localhost", "::1", "::1"),
        ("fd00::7", "::", "::1"),
    ],
)
def test_a_program_listens_where_its_clients_connect(host, bind, local):
    assert address.bind_host(host) == bind
    assert address.local_host(host) == local


@pytest.mark.parametrize(("host", "text"), [("::1", "[::1]:80"), ("10.0.0.7", "10.0.0.7:80"), ("gpu1", "gpu1:80")])
def test_only_an_ipv6_address_gets_brackets(host, text):
    assert address.authority(host, 80) == text
    assert address.without_brackets(text.removesuffix(":80")) == host


def test_urls_in_one_text_are_separated_by_commas():
    assert address.split_urls("http://a:1/, http://b:2,") == ["http://a:1", "http://b:2"]
    assert address.split_urls("") == []


def test_every_loopback_address_is_the_same_host():
    names = ("localhost", "127.0.0.1", "[::1]", "0.0.0.0")
    assert {address.host_port(f"http://{name}:18000/") for name in names} == {("localhost", 18000)}
    assert address.host_port("http://head:99999") == ("head", None)


@pytest.mark.parametrize("host", ["gpu1", "10.0.0.7", "::1", "fd00::7", "a_b.local"])
def test_a_name_and_an_address_are_hosts(host):
    assert address.is_host(host)


@pytest.mark.parametrize("host", ["", "h:80", "http://h", "[::1]", "a b", "fe80::1%eth0", "::1::", "u@h"])
def test_other_texts_are_not_hosts(host):
    assert not address.is_host(host)
