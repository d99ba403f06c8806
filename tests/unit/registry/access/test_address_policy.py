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


def rejection(registered, allowed="", from_own_machine=True):
    """Return the fields and the message of the error; "" if the registration is accepted."""
    try:
        networks = AllowedNetworks(parse_networks(allowed, "allowed_networks"), names=lambda: {"gpu0"})
        AddressPolicy(networks, resolve).check(registered, from_own_machine)
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
def test_consistent_addresses_are_accepted(fields):
    assert not rejection(service(**fields))


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
        ({"metadata": {"health_url": "http://gpu7/up"}}, "metadata"),  # any client may claim any hostname
    ],
)
def test_an_address_of_another_host_is_rejected_with_its_field(fields, param):
    assert rejection(service(**fields)).startswith(f"{param}: {param}: ")


def test_one_error_names_every_wrong_field():
    message = rejection(service(host="0.0.0.0", url="http://10.0.0.9:1", port=2, metadata={"health_url": "http://x"}))
    assert message.startswith("url,host,metadata: ")


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "127.9.9.9", "a.localhost", "LOCALHOST.", "ip6-localhost", "::1", "::ffff:127.0.0.1"],
)
def test_loopback_is_rejected_unless_sent_from_the_registrys_machine(host):
    loopback = service(host=host, url=f"http://{authority(host, 8100)}")
    assert not rejection(loopback)
    assert "localhost is another machine" in rejection(loopback, from_own_machine=False)


def test_a_loopback_name_of_the_hosts_file_counts_as_loopback():
    assert not rejection(service(host="gpu0"))
    assert "gpu0 is another machine" in rejection(service(host="GPU0"), from_own_machine=False)


@pytest.mark.parametrize("host", ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254"])
def test_cloud_metadata_addresses_are_rejected_unless_allowed(host):
    registered = service(host=host, url=f"http://{authority(host, 80)}", port=80)
    assert "metadata service" in rejection(registered)
    assert "metadata service" in rejection(registered, "0.0.0.0/0, 169.254.0.0/16, fd00::/8")
    assert not rejection(registered, "169.254.169.0/24, fd00:ec2::/64")


def test_an_invalid_url_of_an_older_registry_is_rejected():
    assert rejection(service(url="http://gpu7.lab:8100/\\", host="gpu7.lab")).startswith("url: ")


@pytest.mark.parametrize(
    ("host", "accepted"),
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
def test_every_address_of_a_host_must_be_in_allowed_networks(host, accepted):
    message = rejection(service(host=host), "10.0.0.0/16, 192.168.7.1")
    assert (message == "") == accepted
    if not accepted:
        assert "allowed_networks" in message


def test_loopback_can_be_one_of_the_allowed_networks():
    assert not rejection(service(host="localhost"), "127.0.0.0/8")


def test_health_url_may_be_on_another_host_in_allowed_networks():
    registered = service(metadata={"health_url": "http://10.0.0.9:9/up", "babysitter": "http://10.0.0.9:8101"})
    assert not rejection(registered, "10.0.0.0/16")
    assert rejection(registered, "10.0.0.7")
    assert rejection(registered)


def test_the_host_of_the_url_is_resolved_too():
    registered = service(host="10.0.0.7", url="http://elsewhere.lab:8100", hostname="elsewhere.lab")
    assert "url: cannot resolve elsewhere.lab" in rejection(registered, "10.0.0.0/16")


@pytest.mark.parametrize("wrong", ["10.0.0/8", "lab", "10.0.0.0/33", "10.0.0.0/8;10.1.0.0/16"])
def test_an_invalid_network_is_reported_with_its_setting(wrong):
    with pytest.raises(ConfigError, match="allowed_networks: .*10.0.0.0/8, separated by commas"):
        parse_networks(wrong, "allowed_networks")


def test_names_and_addresses_are_resolved():
    assert ip_address("127.0.0.1") in resolved("localhost") or ip_address("::1") in resolved("localhost")
    assert set(resolved("::ffff:10.0.0.7")) == {ip_address("10.0.0.7")}
