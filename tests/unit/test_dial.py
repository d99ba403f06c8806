import socket

import pytest

from svc.dial import dial


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_address_is_connected_to_without_a_resolver(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "getaddrinfo", None)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, 0), family=family)
    with listener, dial(address, listener.getsockname()[1], 5) as sock:
        assert sock.getpeername()[0] == address


def test_a_name_is_resolved():
    with socket.create_server(("127.0.0.1", 0)) as listener, dial("localhost", listener.getsockname()[1], 5) as sock:
        assert sock.getpeername() == listener.getsockname()


def test_where_nothing_listens_it_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            dial("127.0.0.1", taken.getsockname()[1], 5)
