import pytest

from svc.config.instance.model import InfinilmRustBackend
from svc.config.instance.unusual_values import unusual_values
from tests.unit.instance_configs import instance_config


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"backend": InfinilmRustBackend(config_file="c.toml")}, "a backend of type infinilm-rust reports no load"),
        ({"load_interval": 0}, "with load_interval = 0"),
        ({"registry_urls": ()}, "without a registry"),
        ({}, ""),
    ],
)
def test_auto_is_unusual_for_an_engine_that_reports_no_load(changed: dict[str, object], reason: str):
    warnings = list(unusual_values(instance_config(metadata={"max_concurrency": "auto"}, **changed)))
    assert bool(warnings) is bool(reason)
    assert all(reason in warning and "max_concurrency" in warning for warning in warnings)
    assert not list(unusual_values(instance_config(metadata={"max_concurrency": 8}, **changed)))
