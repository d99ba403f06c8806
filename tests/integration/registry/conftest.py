"""One Redis for all tests that can share it; those that hurt it start their own."""

import pytest

from tests.integration.redis_server import RedisServer


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.end()


@pytest.fixture
def own_redis(tmp_path):
    server = RedisServer(tmp_path / "redis").start()
    yield server
    server.end()
