from ipaddress import ip_address

import pytest

from svc.base.address import authority
from svc.base.errors import BadRequest, ConfigError
from svc.perimeter.networks import AllowedNetworks, parse_networks
from svc.registry.access.address_policy import AddressPolicy, resolved
from tests.unit.registry.services import service

NAMES = {"gpu7.lab": ["10.0.0.7"], "both.lab": ["10.0.0.7", "192.0.2.9"], "gpu7": ["10.0.0.7"]}


def resolve(host):
    if host in NAMES:
        return [ip_address(a) for a in NAMES[host]]
    try:
        return [ip_address(host)]
    except ValueError:
        raise OSError("unknown") from None


def refused(one, allowed="", near=True):
    """The params and the message of the refusal; empty when it is taken."""
    try:
        networks = AllowedNetworks(parse_networks(allowed, "allowed_networks"), names=lambda: {"gpu0"})
        AddressPolicy(networks, resolve).check(one, near)
    except BadRequest as error:
        return f"{error.param}: {error.message}"
    return ""


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"host": "gpu7.lab"},
        {"url": "http://gpu7:8100", "host": "10.0.0.7"},  # its hostname
        {"url": "https://models.example", "host": "models.example", "port": 443},
        {"url": "http://[::1]:8100", "host": "localhost"},
        {"url": "http://GPU7.lab.:8100", "host": "gpu7.lab"},
        {"metadata": {"health_url": "https://10.0.0.7/up", "babysitter": "http://10.0.0.7:8101"}},
        {"metadata": {"babysitter": "enhanced"}},
    ],
)
def test_what_says_the_same_everywhere_is_taken(fields):
    assert not refused(service(**fields))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"url": "http://10.0.0.8:8100", "host": "10.0.0.7"}, "url"),
        ({"url": "http://10.0.0.7:8101", "port": 8100}, "url"),
        ({"url": "http://10.0.0.7", "port": 8100}, "url"),
        ({"host": "0.0.0.0"}, "host"),
        ({"host": "::", "url": "http://[::]:8100"}, "host"),
        ({"host": "224.0.0.1"}, "host"),
        ({"host": "255.255.255.255"}, "host"),
        ({"metadata": {"health_url": "http://169.254.169.254/latest"}}, "metadata"),
        ({"metadata": {"babysitter": "http://10.0.0.8:8101"}}, "metadata"),
        ({"metadata": {"health_url": "http://gpu7/up"}}, "metadata"),  # a hostname is what anybody says it is
    ],
)
def test_what_points_elsewhere_is_refused_with_its_field(fields, param):
    assert refused(service(**fields)).startswith(f"{param}: {param}: ")


def test_all_that_is_wrong_is_told_at_once():
    said = refused(service(host="0.0.0.0", url="http://10.0.0.9:1", port=2, metadata={"health_url": "http://x"}))
    assert said.startswith("url,host,metadata: ")


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "127.9.9.9", "a.localhost", "LOCALHOST.", "ip6-localhost", "::1", "::ffff:127.0.0.1"],
)
def test_loopback_is_another_machine_for_whoever_is_not_on_the_registrys(host):
    here = service(host=host, url=f"http://{authority(host, 8100)}")
    assert not refused(here)
    assert "localhost is another machine" in refused(here, near=False)


def test_a_name_that_the_hosts_file_gives_to_loopback_is_loopback():
    assert not refused(service(host="gpu0"))
    assert "gpu0 is another machine" in refused(service(host="GPU0"), near=False)


@pytest.mark.parametrize("host", ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254"])
def test_a_metadata_service_is_refused_unless_its_network_is_allowed(host):
    one = service(host=host, url=f"http://{authority(host, 80)}", port=80)
    assert "metadata service" in refused(one)
    assert "metadata service" in refused(one, "0.0.0.0/0, 169.254.0.0/16, fd00::/8")
    assert not refused(one, "169.254.169.0/24, fd00:ec2::/64")


def test_a_url_of_an_older_registry_is_refused_with_its_field():
    assert refused(service(url="http://gpu7.lab:8100/\\", host="gpu7.lab")).startswith("url: ")


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        ("10.0.0.7", True),
        ("gpu7.lab", True),
        ("10.1.0.1", False),
        ("192.0.2.9", False),
        ("both.lab", False),
        ("nowhere.lab", False),
        ("localhost", False),
    ],
)
def test_with_allowed_networks_all_addresses_of_a_host_are_in_one(host, taken):
    said = refused(service(host=host), "10.0.0.0/16, 192.168.7.1")
    assert (said == "") == taken
    if not taken:
        assert "allowed_networks" in said


def test_loopback_is_allowed_as_any_other_network():
    assert not refused(service(host="localhost"), "127.0.0.0/8")


def test_what_is_asked_for_health_may_be_on_another_host_that_was_allowed_in_so_many_words():
    one = service(metadata={"health_url": "http://10.0.0.9:9/up", "babysitter": "http://10.0.0.9:8101"})
    assert not refused(one, "10.0.0.0/16")
    assert refused(one, "10.0.0.7")
    assert refused(one)


def test_both_the_host_and_the_urls_are_looked_at():
    one = service(host="10.0.0.7", url="http://elsewhere.lab:8100", hostname="elsewhere.lab")
    assert "url: cannot resolve elsewhere.lab" in refused(one, "10.0.0.0/16")


@pytest.mark.parametrize("wrong", ["10.0.0/8", "lab", "10.0.0.0/33", "10.0.0.0/8;10.1.0.0/16"])
def test_what_is_no_network_is_told_with_the_setting(wrong):
    with pytest.raises(ConfigError, match="allowed_networks: .*10.0.0.0/8, separated by commas"):
        parse_networks(wrong, "allowed_networks")


def test_names_and_addresses_are_resolved():
    assert ip_address("127.0.0.1") in resolved("localhost") or ip_address("::1") in resolved("localhost")
    assert set(resolved("::ffff:10.0.0.7")) == {ip_address("10.0.0.7")}
