"""A digest of what a babysitter reads in its TOML: it shows whether the babysitter has read the file as it is now."""

import dataclasses
import hashlib
import json
from typing import Any

from svc.config.instance.model import InstanceConfig


def digest(config: InstanceConfig) -> str:
    """Return the digest; it is equal for files that mean the same to a babysitter, whatever their comments and order.

    It leaves out what stands in the babysitter's flags, because supervisord compares those, and what only the
    instance's own program is made of.
    """
    values: dict[str, Any] = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name not in ("source", "host", "router_url", "backend")
    }
    values["type"] = config.backend.type
    if config.backend.api_key_file:
        values["api_key_file"] = config.backend.api_key_file
    if len(config.registry_urls) == 1:
        del values["registry_urls"]
    values = {key: float(value) if isinstance(value, int) else value for key, value in values.items()}  # 5 means 5.0
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
