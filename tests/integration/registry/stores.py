"""Every store that the registry has, and helpers for the tests of stores."""

from svc.registry.store import redis_address
from svc.registry.store.redis import RedisStore
from svc.registry.store.sqlite import SqliteStore

STORES = {
    "sqlite": lambda request, place: SqliteStore(place / "var" / "registry.db"),
    "redis": lambda request, place: RedisStore(
        redis_address.parse(f"{request.getfixturevalue('shared_redis').url}?prefix={place.name}")
    ),
}


def put(store, new):
    return store.change(new.name, lambda old: new)


def revision(store):
    return store.snapshot()[0]
