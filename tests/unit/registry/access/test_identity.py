"""The client of a request, identified by its address and its headers."""

import pytest

from svc.registry.access import identity
from svc.registry.access.identity import Client, identify
from svc.registry.leases import owner

FAR = "192.0.2.7"


def client(peer=FAR, operator="", **headers) -> Client:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return identify(peer, headers, lambda host: host == "gpu7", lambda authorization: operator)


@pytest.mark.parametrize(
    ("peer", "headers", "is_local"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {"host": "gpu7"}, True),
        ("::ffff:127.0.0.1", {}, True),
        (FAR, {}, False),
        (None, {}, False),
        ("127.0.0.1", {"x_forwarded_for": FAR}, False),
        ("127.0.0.1", {"x_forwarded_for": ""}, False),
        ("127.0.0.1", {"forwarded": "for=192.0.2.7"}, False),
        ("127.0.0.1", {"via": "1.1 proxy"}, False),
        ("127.0.0.1", {"x_real_ip": FAR}, False),
        ("127.0.0.1", {"x_forwarded_proto": "https"}, False),
        ("127.0.0.1", {"x_forwarded_host": "gpu7"}, False),
        ("127.0.0.1", {"cf_connecting_ip": FAR}, False),
        ("127.0.0.1", {"host": "evil.example"}, False),
    ],
)
def test_only_an_unforwarded_loopback_peer_is_local(peer, headers, is_local):
    assert client(peer, **headers).is_local is is_local


def test_a_secret_makes_the_caller_even_beside_the_token():
    assert client(operator="alice").caller is owner.OPERATOR
    assert (
        client(operator="alice", x_service_secret="s").caller
        == client(x_service_secret="s").caller
        == owner.digest("s")
    )
    assert client().caller == owner.ANONYMOUS


def test_details_are_for_this_machine_and_for_operators():
    assert client("127.0.0.1").may_see_details
    assert client(operator="alice", x_service_secret="s").may_see_details
    assert not client("127.0.0.1", x_forwarded_for=FAR).may_see_details


def test_a_forwarded_event_is_marked_with_the_proxy():
    assert [client().source_address, client(forwarded="for=x").source_address] == [FAR, f"proxy-{FAR}"]


def test_any_address_of_the_registrys_machine_is_its_own(monkeypatch):
    monkeypatch.setattr(identity, "is_own_address", lambda address: address == FAR)
    assert client().is_on_own_machine
    assert not client("192.0.2.8").is_on_own_machine
    assert not client(None).is_on_own_machine
    assert not client(x_forwarded_for=FAR).is_on_own_machine
