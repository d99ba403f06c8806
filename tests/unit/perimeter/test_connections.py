"""The order in which a full server closes connections."""

import math
from typing import NamedTuple

import pytest

from svc.perimeter.connections import (
    STALLED_SECONDS,
    YOUNG_SECONDS,
    ConnectionDeadlines,
    ConnectionStage,
    clients_within,
    expires,
    network,
    select_to_close,
)

NOW = 1000.0


class Client(NamedTuple):
    name: str
    address: str = "10.0.0.1"
    stage: ConnectionStage = ConnectionStage.IDLE
    since: float = NOW - 60


def names(clients, count=1):
    return "".join(client.name for client in select_to_close(clients, count, NOW))


def test_a_busy_connection_is_never_closed():
    assert names([Client("a", stage=ConnectionStage.BUSY, since=0)], 9) == ""


def test_a_client_that_reads_is_closed_only_when_it_has_stalled():
    reads = Client("a", stage=ConnectionStage.SENDING, since=NOW - STALLED_SECONDS + 0.1)
    stalls = Client("b", stage=ConnectionStage.SENDING, since=NOW - STALLED_SECONDS)
    assert names([reads, stalls], 9) == "b"


def test_lower_stages_are_closed_first_and_polls_last():
    clients = [Client(str(int(stage)), stage=stage) for stage in reversed(ConnectionStage)]
    assert names(clients, 9) == "01234"


def test_the_oldest_connection_of_a_stage_is_closed_first():
    assert names([Client("a", since=900), Client("b", since=800), Client("c", since=950)], 2) == "ba"


def test_a_young_connection_is_closed_after_older_ones():
    young = Client("y", stage=ConnectionStage.SILENT, since=NOW - YOUNG_SECONDS / 2)
    assert names([young, Client("r", stage=ConnectionStage.REQUEST)], 2) == "ry"


def test_the_address_with_most_connections_loses_them_first():
    many = [Client("m", "10.0.0.9", ConnectionStage.REQUEST) for _ in range(5)]
    few = [Client("f", "10.0.0.1", ConnectionStage.SILENT, 0.0) for _ in range(3)]
    assert names([*few, *many], 2) == "mm"
    assert sorted(names([*few, *many], 4)) == ["f", "m", "m", "m"], "the two give way alike once they have as many"


def test_busy_connections_do_not_count_against_an_address():
    proxy = [Client("p", "10.0.0.1", ConnectionStage.BUSY) for _ in range(9)] + [Client("p", "10.0.0.1")]
    assert names([*proxy, *[Client("m", "10.0.0.9") for _ in range(3)]]) == "m"


def test_polls_are_closed_only_when_no_other_is_left():
    polls = [Client("p", "10.0.0.9", ConnectionStage.POLLING, 0.0) for _ in range(9)]
    assert names([*polls, Client("a"), Client("b")], 3) == "abp"


@pytest.mark.parametrize(
    ("address", "stands_for"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("not:an:address", "not:an:address"),
    ],
)
def test_an_ipv6_network_counts_as_one_client(address, stands_for):
    assert network(address) == stands_for


def test_connections_of_an_ipv6_network_are_closed_as_of_one_client():
    many = [Client("m", f"2001:db8::{n}") for n in range(4)]
    assert names([Client("f", "10.0.0.1"), Client("f", "10.0.0.1"), *many], 2) == "mm"


@pytest.mark.parametrize(
    ("descriptors", "most", "each", "clients"),
    [(1024, 256, 1, 256), (256, 256, 1, 192), (1100, 10_000, 2, 486), (21_000, 10_000, 2, 10_000), (4, 9, 2, 1)],
)
def test_the_client_limit_reserves_descriptors(descriptors, most, each, clients):
    assert clients_within(descriptors, most, each) == clients


@pytest.mark.parametrize(
    ("stage", "end"),
    [
        (ConnectionStage.SILENT, 102.0),
        (ConnectionStage.IDLE, 102.0),
        (ConnectionStage.REQUEST, 110.0),
        (ConnectionStage.SENDING, 130.0),
        (ConnectionStage.POLLING, math.inf),
        (ConnectionStage.BUSY, math.inf),
    ],
)
def test_each_stage_but_busy_has_its_deadline(stage, end):
    assert expires(stage, 100.0, ConnectionDeadlines(idle=2, request=10, answer=30)) == end
