"""An InstanceConfig as `svc.config.instance.load` would make it."""

from pathlib import Path
from typing import Any

from svc.config.instance.model import InstanceConfig, MockBackend


def instance_config(**changed: Any) -> InstanceConfig:
    values: dict[str, Any] = {
        "name": "qwen",
        "host": "localhost",
        "port": 8100,
        "registry_urls": ("http://localhost:18000",),
        "router_url": "http://localhost:8000",
        "token_file": "",
        "max_restarts": 3,
        "restart_delay": 5,
        "heartbeat_interval": 10,
        "backend": MockBackend(models=("a",)),
        "metadata": {"cache_type": "paged"},
        "source": Path("config/qwen.toml"),
    }
    return InstanceConfig(**{**values, **changed})
