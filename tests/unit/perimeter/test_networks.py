"""The addresses that a server connects to."""

from ipaddress import ip_network

import pytest

from svc.perimeter.networks import AllowedNetworks, canonical


def rejection(host, address, port=80, allowed=(), own=None):
    networks = AllowedNetworks([ip_network(network) for network in allowed], own, names=lambda: {"gpu0"})
    return networks.rejection_reason(host, address, port)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("gpu7", "10.0.0.7"),
        ("8.8.8.8", "8.8.8.8"),
        ("localhost", "127.0.0.1"),
        ("::1", "::1"),
        ("gpu0", "127.0.1.1"),
        ("GPU0.", "127.0.1.1"),
        ("a.localhost", "::1"),
        ("spark", "169.254.7.7"),
        ("spark", "fe80::7%eth0"),
    ],
)
def test_an_address_of_a_machine_is_allowed(host, address):
    assert rejection(host, address) == ""


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["gpu7", "127.evil.example", "localhost.evil.example"])
def test_a_name_that_now_resolves_to_loopback_is_refused(host, address):
    assert "this machine itself" in rejection(host, address)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fd00:ec2::254",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
    ],
)
def test_an_address_that_no_service_can_have_is_refused(address):
    assert rejection("gpu7", address)


def test_with_allowed_networks_the_address_must_be_in_one():
    assert "in no network" in rejection("gpu7", "10.1.0.7", allowed=["10.0.0.0/16", "fd00::/8"])
    assert rejection("gpu7", "10.0.0.7", allowed=["10.0.0.0/16"]) == ""
    assert rejection("gpu7", "fd00::7", allowed=["10.0.0.0/16", "fd00::/8"]) == ""
    assert "this machine itself" in rejection("gpu7", "127.0.0.1", allowed=["127.0.0.0/8"])
    assert rejection("x", "169.254.169.254", allowed=["169.254.169.0/24"]) == ""
    assert "metadata service" in rejection("x", "169.254.169.254", allowed=["0.0.0.0/0", "10.0.0.0/24"])
    assert rejection("x", "0.0.0.0", allowed=["0.0.0.0/0"])


@pytest.mark.parametrize(
    ("own", "address", "port", "is_own"),
    [
        ("127.0.0.1", "127.0.0.1", 18000, True),
        ("127.0.0.1", "::ffff:127.0.0.1", 18000, True),
        ("127.0.0.1", "127.0.0.1", 18001, False),
        ("127.0.0.1", "127.0.0.2", 18000, False),
        ("0.0.0.0", "127.0.0.9", 18000, True),
        ("::", "127.0.0.1", 18000, True),
        ("0.0.0.0", "192.0.2.1", 18000, False),
    ],
)
def test_a_server_does_not_connect_to_itself(own, address, port, is_own):
    said = rejection("localhost" if address.startswith("127") else address, address, port, own=(own, 18000))
    assert (said == "it is this server itself") == is_own


def test_each_host_has_one_canonical_spelling():
    assert canonical("[::FFFF:10.0.0.7]") == "10.0.0.7"
    assert canonical("2001:DB8:0::1") == "2001:db8::1"
    assert canonical("GPU7.Lab.") == "gpu7.lab"
    assert {canonical(host) for host in ("LOCALHOST.", "::1", "127.3.2.1", "ip6-localhost", "a.localhost")} == {
        "localhost"
    }
