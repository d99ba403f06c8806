import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.base.errors import ConfigError
from svc.perimeter.networks import parse_networks
from svc.router.proxy.trusted_proxies import client_of, peer_address

TRUSTED = parse_networks("10.0.0.0/8, 127.0.0.1,fd00::/8,", "trusted_proxies")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", b"203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", b"203.0.113.9, 10.0.0.7", "203.0.113.9"),  # a row of proxies
        ("10.0.0.1", b"1.1.1.1, 203.0.113.9, 10.0.0.7", "203.0.113.9"),  # what stands before it may be made up
        ("10.0.0.1", b"10.0.0.9,10.0.0.7", "10.0.0.9"),  # all are ours: the one farthest away
        ("10.0.0.1", b"", "10.0.0.1"),
        ("203.0.113.5", b"1.1.1.1", "203.0.113.5"),  # nobody we trust
        ("10.0.0.1", b"unknown", "10.0.0.1"),
        ("10.0.0.1", b"<script>, 10.0.0.7", "10.0.0.1"),
        ("fd00::1", b"2001:db8::9", "2001:db8::9"),
        ("", b"1.1.1.1", ""),
        ("::ffff:10.0.0.1", b"203.0.113.9, ::ffff:10.0.0.7", "203.0.113.9"),  # a listener on ::
    ],
)
def test_the_clients_address_behind_trusted_proxies(peer: str, forwarded: bytes, client: str):
    assert client_of(peer, forwarded, TRUSTED) == client


def test_no_proxy_is_trusted_by_default():
    assert parse_networks("", "trusted_proxies") == ()
    assert client_of("127.0.0.1", b"1.1.1.1", ()) == "127.0.0.1"


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_what_a_client_writes_is_never_believed(written: bytes, more: bytes):
    """A proxy of ours puts the address that it sees last."""
    assert client_of("10.0.0.1", written + b"," + more + b", 203.0.113.9", TRUSTED) == "203.0.113.9"


@pytest.mark.parametrize("text", ["10.0.0.0/99", "proxy.example.org", "1.2.3"])
def test_a_text_that_is_no_network_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"^trusted_proxies: .*such as 10\.0\.0\.0/8"):
        parse_networks(f"127.0.0.1,{text}", "trusted_proxies")


def test_an_address_within_a_network_stands_for_it():
    assert str(parse_networks("10.1.2.3/8", "trusted_proxies")[0]) == "10.0.0.0/8"


def test_an_ipv4_peer_of_an_ipv6_socket_has_its_ipv4_address():
    assert peer_address("::ffff:10.0.0.1") == "10.0.0.1"
    for address in ("10.0.0.1", "::1", "::ffff:a00:1", ""):
        assert peer_address(address) == address
