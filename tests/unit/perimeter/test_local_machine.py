import socket

import pytest

from svc.perimeter.local_machine import is_loopback_only, is_own_address, listed_names, loopback_names, own_names

HOSTS = """
127.0.0.1 localhost registry.site  # evil.example
127.0.1.1 gpu7.example.org gpu7
::1 ip6-loopback
10.0.0.7 gpu7.lan gpu7
10.0.0.8 gpu8.lan gpu8
0.0.0.0 blocked.example
odd
"""


def test_names_beside_loopback_and_the_host_name_are_own_names():
    assert set(listed_names(HOSTS, "gpu7")) == {
        "localhost",
        "registry.site",
        "gpu7.example.org",
        "gpu7",
        "ip6-loopback",
        "gpu7.lan",
    }


def test_loopback_names_come_from_the_hosts_file(tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("# 127.0.0.1 not\n127.0.0.1\tlocalhost\n127.0.1.1 Gpu0.lab gpu0 # me\n10.0.0.7 gpu7\n\n::1 six\n")
    assert loopback_names(hosts) >= {"localhost", "gpu0.lab", "gpu0", "six"}
    assert not loopback_names(hosts) & {"gpu7", "not", "#", "me"}
    assert loopback_names(tmp_path / "nowhere") == frozenset()


def test_the_host_name_is_an_own_name():
    assert socket.gethostname() in own_names()


def test_an_address_of_an_interface_is_an_own_address():
    assert is_own_address("127.0.0.1")
    assert not is_own_address("192.0.2.1")  # for documentation: RFC 5737
    assert not is_own_address("2001:db8::1")


@pytest.mark.parametrize("address", ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "::ffff:0.0.0.0", "x"])
def test_an_address_without_an_interface_is_no_own_address(address):
    assert not is_own_address(address)


@pytest.mark.parametrize(("host", "loopback"), [("127.0.0.1", True), ("127.0.0.2", True), ("0.0.0.0", False)])
def test_a_socket_on_a_loopback_address_is_loopback_only(host, loopback):
    with socket.create_server((host, 0)) as listener:
        assert is_loopback_only(listener) is loopback


def test_a_unix_socket_is_not_loopback_only(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        assert not is_loopback_only(listener)
