"""Which addresses are connected to."""

from ipaddress import ip_network

import pytest

from svc.networks import Networks, canonical, local_names


def refusal(host, address, port=80, allowed=(), own=None):
    networks = Networks([ip_network(network) for network in allowed], own, names=lambda: {"gpu0"})
    return networks.refusal(host, address, port)


@pytest.mark.parametrize(
    ("host", "address"),
    [("gpu7", "10.0.0.7"), ("8.8.8.8", "8.8.8.8"), ("localhost", "127.0.0.1"), ("::1", "::1"), ("gpu0", "127.0.1.1"),
     ("GPU0.", "127.0.1.1"), ("a.localhost", "::1"), ("spark", "169.254.7.7"), ("spark", "fe80::7%eth0")],
)  # fmt: skip
def test_an_address_of_a_machine_is_connected_to(host, address):
    assert refusal(host, address) == ""


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["gpu7", "127.evil.example", "localhost.evil.example"])
def test_a_name_that_has_become_loopback_is_refused(host, address):
    assert "this machine itself" in refusal(host, address)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "0.0.0.0", "::", "224.0.0.1", "ff02::1",
     "255.255.255.255"],
)  # fmt: skip
def test_an_address_of_no_service_is_refused(address):
    assert refusal("gpu7", address)


def test_with_allowed_networks_the_address_must_be_in_one():
    assert "in no network" in refusal("gpu7", "10.1.0.7", allowed=["10.0.0.0/16", "fd00::/8"])
    assert refusal("gpu7", "10.0.0.7", allowed=["10.0.0.0/16"]) == ""
    assert refusal("gpu7", "fd00::7", allowed=["10.0.0.0/16", "fd00::/8"]) == ""
    assert "this machine itself" in refusal("gpu7", "127.0.0.1", allowed=["127.0.0.0/8"])
    assert refusal("x", "169.254.169.254", allowed=["169.254.169.0/24"]) == ""
    assert "metadata service" in refusal("x", "169.254.169.254", allowed=["0.0.0.0/0", "10.0.0.0/24"])
    assert refusal("x", "0.0.0.0", allowed=["0.0.0.0/0"])


@pytest.mark.parametrize(
    ("own", "address", "port", "is_own"),
    [
        ("127.0.0.1", "127.0.0.1", 18000, True), ("127.0.0.1", "::ffff:127.0.0.1", 18000, True),
        ("127.0.0.1", "127.0.0.1", 18001, False), ("127.0.0.1", "127.0.0.2", 18000, False),
        ("0.0.0.0", "127.0.0.9", 18000, True), ("::", "127.0.0.1", 18000, True), ("0.0.0.0", "192.0.2.1", 18000, False),
    ],
)  # fmt: skip
def test_a_server_does_not_connect_to_itself(own, address, port, is_own):
    said = refusal("localhost" if address.startswith("127") else address, address, port, own=(own, 18000))
    assert (said == "it is this server itself") == is_own


def test_the_names_that_the_hosts_file_gives_to_loopback(tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("# 127.0.0.1 not\n127.0.0.1\tlocalhost\n127.0.1.1 Gpu0.lab gpu0 # me\n10.0.0.7 gpu7\n\n::1 six\n")
    assert local_names(hosts) >= {"localhost", "gpu0.lab", "gpu0", "six"}
    assert not local_names(hosts) & {"gpu7", "not", "#", "me"}
    assert local_names(tmp_path / "nowhere") == frozenset()


def test_one_spelling_for_each_host():
    assert canonical("[::FFFF:10.0.0.7]") == "10.0.0.7"
    assert canonical("2001:DB8:0::1") == "2001:db8::1"
    assert canonical("GPU7.Lab.") == "gpu7.lab"
    assert {canonical(host) for host in ("LOCALHOST.", "::1", "127.3.2.1", "ip6-localhost", "a.localhost")} == {
        "localhost"
    }
