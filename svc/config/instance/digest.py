"""A word for what a babysitter reads in its TOML, so that it can be told whether it has read the file as it is now."""

import dataclasses
import hashlib
import json
from typing import Any

from svc.config.instance.model import InstanceConfig


def digest(config: InstanceConfig) -> str:
    """The same for files that mean the same to a babysitter, whatever their comments and order.

    What stands in its program's flags is left out, for supervisord compares those, and so is what only
    the instance's own program is made of.
    """
    told: dict[str, Any] = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name not in ("source", "host", "router_url", "backend")
    }
    told["type"] = config.backend.type
    if config.backend.api_key_file:
        told["api_key_file"] = config.backend.api_key_file
    if len(config.registry_urls) == 1:
        del told["registry_urls"]
    told = {key: float(value) if isinstance(value, int) else value for key, value in told.items()}  # 5 means 5.0
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
