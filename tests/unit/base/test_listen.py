"""Addresses that a server binds."""

import socket

import pytest

from svc.base.errors import CommandError
from svc.base.listen import bind
from tests.waiting import ipv6


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_brackets_around_an_ipv6_address_are_optional(host):
    ipv6()
    with bind("router", host, 0) as listener:
        assert (listener.family, listener.getsockname()[0]) == (socket.AF_INET6, "::1")


def test_the_error_for_a_taken_ipv6_address_has_brackets():
    ipv6()
    with bind("router", "::1", 0) as listener:
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(CommandError, match=rf"router: cannot listen on \[::1\]:{port}: address already in use"):
            bind("router", "::1", port)
