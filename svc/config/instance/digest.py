"""Computes a digest of a babysitter TOML, which shows whether a babysitter has loaded the current file."""

import dataclasses
import hashlib
import json
from typing import Any

from svc.config.instance.model import InstanceConfig


def digest(config: InstanceConfig) -> str:
    """Return the digest of the values that a babysitter reads; comments and the order of keys do not change it.

    The digest omits the values in the babysitter's flags, because supervisord compares those, and the values that
    only the instance's own program uses.
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
    values = {key: float(value) if isinstance(value, int) else value for key, value in values.items()}  # 5 equals 5.0
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
