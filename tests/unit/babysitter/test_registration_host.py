"""The host that an instance registers with if its TOML has a wildcard address."""

import pytest

from svc.babysitter.registration_host import RegistrationHost, source_address

REMOTE, LOCAL = "http://registry.lab:18000", "http://localhost:18000"


def refreshed(host, *urls, find=None):
    registration_host = RegistrationHost(host, urls, find)
    registration_host.refresh()
    return registration_host.value


def unreachable(*_):
    raise OSError("no route")


def test_a_configured_host_stays_as_it_is():
    assert refreshed("gpu1", REMOTE, find=unreachable) == "gpu1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_registry_on_this_machine_gets_loopback(host):
    assert refreshed(host, LOCAL, find=unreachable) == "localhost"
    assert refreshed(host, "http://this-machine:18000", find=lambda *_: "127.0.1.1") == "localhost"


def test_a_name_that_cannot_be_in_the_dns_is_passed_over():
    assert refreshed("0.0.0.0", "http://a..b:1", LOCAL) == "localhost"


def test_another_registry_gets_the_address_towards_it():
    asked = []

    def find(*arguments):
        asked.append(arguments)
        return "192.0.2.7"

    assert refreshed("0.0.0.0", "https://r1", "http://r2:1", find=find) == "192.0.2.7"
    assert refreshed("::", REMOTE, find=find) == "192.0.2.7"
    assert asked == [("r1", 443, False), ("registry.lab", 18000, True)]


def test_the_first_registry_with_a_route_decides():
    def find(host, *_):
        return "192.0.2.7" if host == "r2" else unreachable()

    assert refreshed("0.0.0.0", "http://r1:1", "http://r2:1", find=find) == "192.0.2.7"


def test_the_last_address_is_kept_while_the_network_is_away():
    answers = iter([unreachable, lambda *_: "192.0.2.7", unreachable, lambda *_: "192.0.2.8"])
    registration_host = RegistrationHost("0.0.0.0", [REMOTE], lambda *arguments: next(answers)(*arguments))
    values = []
    for _ in range(4):
        registration_host.refresh()
        values.append(registration_host.value)
    assert values == ["localhost", "192.0.2.7", "192.0.2.7", "192.0.2.8"]


def test_the_source_address_is_an_address_of_this_machine():
    assert source_address("127.0.0.1", 18000, False) == "127.0.0.1"
    assert source_address("::1", 18000, True) == "::1"
    with pytest.raises(OSError, match=r"."):
        source_address("::1", 18000, False)
