"""Connections to addresses and names, of which some are refused."""

import socket

import pytest

from svc.base.dial import AddressRefused, dial


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_address_needs_no_resolver(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "getaddrinfo", None)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, 0), family=family)
    with listener, dial(address, listener.getsockname()[1], 5) as sock:
        assert sock.getpeername()[0] == address


def test_a_name_is_resolved():
    with socket.create_server(("127.0.0.1", 0)) as listener, dial("localhost", listener.getsockname()[1], 5) as sock:
        assert sock.getpeername() == listener.getsockname()


def test_a_port_without_a_listener_refuses_the_connection():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            dial("127.0.0.1", taken.getsockname()[1], 5)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Let every name resolve to these addresses and ports."""
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)


def test_a_refused_address_of_a_name_is_skipped(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port = listener.getsockname()[1]
        resolve_to(monkeypatch, ("127.0.0.1", port), ("127.0.0.2", port))
        with dial("gpu7", port, 5, lambda host, address, port: "no" if address == "127.0.0.1" else "") as sock:
            assert sock.getpeername()[0] == "127.0.0.2"


@pytest.mark.parametrize("host", ["gpu7", "127.0.0.1"])
def test_no_connection_is_made_when_every_address_is_refused(host: str, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        resolve_to(monkeypatch, listener.getsockname())
        with pytest.raises(AddressRefused, match=f"^{host} 127.0.0.1"):
            dial(host, listener.getsockname()[1], 5, lambda host, address, port: f"{host} {address}")
        with pytest.raises(TimeoutError):
            listener.accept()
