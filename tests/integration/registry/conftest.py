"""Fixtures: every store, and a Redis, shared by the tests that do not disturb it."""

import pytest

from tests.integration.redis_server import RedisServer
from tests.integration.registry.stores import STORES


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory):
    # It is never killed. A sync after each write would wait for a busy disk longer than the registry waits for Redis.
    server = RedisServer(tmp_path_factory.mktemp("redis"), "--appendfsync", "no").start()
    yield server
    server.end()


@pytest.fixture
def own_redis(tmp_path):
    server = RedisServer(tmp_path / "redis").start()
    yield server
    server.end()


@pytest.fixture(params=STORES)
def reopen(request, tmp_path):
    """A function that opens the same store once more, for every kind of store."""
    opened = []

    def again():
        opened.append(STORES[request.param](request, tmp_path))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen):
    return reopen()
