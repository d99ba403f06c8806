"""The digest of an instance's configuration, which shows the TOML that a babysitter has read."""

import pytest

from svc.config.instance.model import CommandBackend, MockBackend
from tests.unit.instance_configs import instance_config


@pytest.mark.parametrize(
    "changed",
    [
        {"metadata": {"cache_type": "static"}},
        {"metadata": {}},
        {"heartbeat_interval": 11},
        {"max_restarts": 4},
        {"token_file": "config/token"},
        {"backend": CommandBackend(command=("x",))},
        {"backend": MockBackend(models=("a",), api_key_file="var/q.key")},
    ],
)
def test_a_value_that_the_babysitter_reads_changes_the_digest(changed):
    assert instance_config(**changed).digest() != instance_config().digest()


@pytest.mark.parametrize(
    "changed",
    [
        {"heartbeat_interval": 10.0},
        {"registry_urls": ("http://elsewhere:18000",)},
        {"registry_urls": ("http://a:1", "http://b:1")},
        {"registry_setting": "registry_url", "unused_registry_urls": ("http://a:1",)},
        {"host": "h1"},
        {"router_url": ""},
        {"source": instance_config().source.parent / "other.toml"},
        {"backend": MockBackend(models=("a", "b"), env={"X": "1"})},
    ],
)
def test_a_value_in_the_commands_does_not_change_the_digest(changed):
    assert instance_config(**changed).digest() == instance_config().digest()


def test_the_order_of_a_table_does_not_matter():
    assert instance_config(metadata={"a": 1, "b": 2}).digest() == instance_config(metadata={"b": 2, "a": 1}).digest()
