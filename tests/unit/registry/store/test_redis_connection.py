"""The advice on the settings of a Redis that would lose registrations."""

import pytest

from svc.registry.store.redis_connection import configuration_advice


@pytest.mark.parametrize(
    ("persistence", "memory", "settings"),
    [
        ({"aof_enabled": 1}, {"maxmemory": 0, "maxmemory_policy": "allkeys-lru"}, []),
        ({"aof_enabled": 1}, {"maxmemory": 9, "maxmemory_policy": "noeviction"}, []),
        (
            {"aof_enabled": 1},
            {"maxmemory": 9, "maxmemory_policy": "allkeys-lru"},
            ["maxmemory-policy noeviction"],
        ),
        ({"aof_enabled": 0}, {}, ["appendonly yes"]),
    ],
)
def test_settings_that_may_lose_registrations_are_named(persistence, memory, settings):
    advice = configuration_advice(persistence, memory)
    assert [line.rpartition("; set ")[2] for line in advice] == settings
