import pytest

from svc.perimeter.hosts import Hosts, split_authority

OWN = ("10.0.0.7", "fd00::7")


def hosts(*allowed, loopback_only=True):
    return Hosts(allowed, ("gpu7",), loopback_only=loopback_only, is_own_address=lambda address: address in OWN)


@pytest.mark.parametrize(
    ("authority", "host", "port"),
    [
        ("Localhost", "localhost", None),
        ("localhost.:18000", "localhost", 18000),
        ("localhost:", "localhost", None),
        ("[::1]:80", "::1", 80),
        ("[0:0::1]", "::1", None),
        ("[::ffff:127.0.0.1]:1", "127.0.0.1", 1),
        ("127.0.0.1.", "127.0.0.1", None),
        *(
            (malformed, "", None)
            for malformed in (
                "",
                "::1",
                "a b",
                "a,localhost",
                "localhost, evil.example",
                "evil@localhost",
                "localhost/",
                "[localhost]",
                "[::1",
                "[fe80::1%lo]",
                "localhost:x",
                "localhost:123456",
                "localhost#",
                "loc\xe4lhost",
                "..",
            )
        ),
    ],
)
def test_a_host_is_parsed_in_one_way_or_refused(authority, host, port):
    assert split_authority(authority) == (host, port)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:1",
        "x.localhost",
        "ip6-localhost",
        "127.0.0.1",
        "127.9.9.9:80",
        "[::1]:18000",
        "router:1",
        "GPU7.:18000",
        "10.0.0.7:8000",
        "[fd00::7]",
    ],
)
def test_loopback_and_the_machines_own_names_are_admitted(host):
    assert hosts().admits(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:18000",
        "127.0.0.1.evil.example",
        "127.evil.example",
        "localhost.evil.example",
        "localhost.x",
        "gpu7.evil.example",
        "10.0.0.8",
        "[fd00::8]",
        "127.1",
        "2130706433",
        "localhost,evil.example",
        "",
    ],
)
def test_every_other_host_is_refused_on_loopback(host):
    assert not hosts().admits(host)
    assert hosts(loopback_only=False).admits(host)


def test_an_address_is_admitted_once_an_interface_has_it():
    addresses: set[str] = set()
    server = Hosts(loopback_only=True, is_own_address=lambda address: address in addresses)
    assert not server.admits("10.0.0.9:8000")
    addresses.add("10.0.0.9")
    assert server.admits("10.0.0.9:8000")


def test_http_1_0_without_a_host_is_admitted():
    assert hosts().admits(None)


def test_listed_hosts_are_admitted_beside_own_names():
    named = hosts("llm.example.org", "[fd00::9]", "10.0.0.9")
    assert all(map(named.admits, ("LLM.example.org:443", "[fd00::9]:1", "10.0.0.9", "localhost", "gpu7")))
    assert not named.admits("www.llm.example.org")


def test_a_list_is_enforced_beyond_loopback_too():
    assert not hosts("llm.example.org", loopback_only=False).admits("evil.example")
    assert hosts("llm.example.org", loopback_only=False).admits("10.0.0.7:8000")


def test_a_star_admits_any_host():
    assert hosts("*").admits("evil.example")
