"""A full pool makes room by closing idle connections, never busy ones."""

import gevent
import pytest
from gevent.event import Event

from svc.perimeter.connection_pool import ConnectionPool
from svc.perimeter.connections import ConnectionStage


class Client:
    def __init__(self, address: str, stage: ConnectionStage) -> None:
        self.address, self._stage, self.since = address, stage, 0.0
        self.closing = False
        self.over = Event()

    @property
    def stage(self) -> ConnectionStage:
        return ConnectionStage.BUSY if self.closing else self._stage

    def shed(self) -> None:
        self.closing = True
        self.over.set()


@pytest.fixture
def fill():
    """Returns a pool of `size` that is full of clients in this stage."""

    def filled(size: int, stage: ConnectionStage, now: float = 100.0) -> tuple[ConnectionPool, list[Client]]:
        clients = [Client(f"10.0.0.{n % 3}", stage) for n in range(size)]
        open_clients = list(clients)
        pool = ConnectionPool(size, lambda: open_clients, lambda: now)

        def serve(client: Client) -> None:
            client.over.wait()
            open_clients.remove(client)

        for client in clients:
            pool.spawn(serve, client)
        gevent.sleep(0)
        return pool, clients

    return filled


def test_a_full_pool_has_room_again_once_closed_connections_end(fill):
    pool, clients = fill(32, ConnectionStage.IDLE)
    assert pool.full()
    assert sum(client.closing for client in clients) == 2
    assert pool.full(), "it waits for these, and closes no others"
    assert sum(client.closing for client in clients) == 2
    gevent.sleep(0.01)
    assert not pool.full()


def test_busy_connections_are_never_closed(fill):
    pool, clients = fill(8, ConnectionStage.BUSY)
    assert pool.full()
    assert not any(client.closing for client in clients)


def test_the_sweeper_makes_room_in_a_full_pool(fill):
    pool, clients = fill(32, ConnectionStage.IDLE)
    pool.shed_if_full()
    assert sum(client.closing for client in clients) == 2


def test_a_pool_with_room_closes_no_connection(fill):
    pool, clients = fill(8, ConnectionStage.IDLE)
    clients[0].over.set()
    gevent.sleep(0.01)
    assert not pool.full()
    assert not any(client.closing for client in clients)


def test_the_log_names_the_client_with_most_connections(fill, caplog):
    pool, _ = fill(7, ConnectionStage.IDLE)
    pool.full()
    pool.full()
    assert [record.getMessage() for record in caplog.records] == [
        "all 7 connections are in use, 3 of them by 10.0.0.0: idle ones are closed; raise the descriptor limit "
        "(ulimit -n), or look at that client"
    ]


def test_a_connection_that_needs_a_place_makes_room_for_itself(fill):
    """The registry accepts some connections before it knows whether they need a greenlet."""
    pool, clients = fill(32, ConnectionStage.IDLE)
    served = [gevent.spawn(pool.spawn, Event().wait) for _ in range(10)]
    gevent.joinall(served, timeout=5, raise_error=True)
    assert all(spawned.ready() for spawned in served)
    assert 10 <= sum(client.closing for client in clients) <= 12
