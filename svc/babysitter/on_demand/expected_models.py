"""The models of an instance that has not listed any since its babysitter started. Pure."""

import hashlib
import json
from typing import Any

from svc.babysitter.engine_check import model_object
from svc.babysitter.on_demand.last_models import LastLife
from svc.config.instance.declared_models import models_in_command
from svc.config.instance.model import InstanceConfig


def command_digest(config: InstanceConfig) -> str:
    """Return a digest of the instance's command, which decides about its models."""
    return hashlib.sha256(json.dumps([config.argv, config.models]).encode()).hexdigest()[:16]


def expected_models(config: InstanceConfig, last: LastLife) -> tuple[dict[str, Any], ...]:
    """Return the models that the instance will probably have when it runs: the first of these that exist.

    1. The models that the TOML lists.
    2. The models of its last run, if that had the same command.
    3. The models that its command names.
    4. The models of its last run, with whatever command.
    """
    if config.models:
        return _objects(config.models, config)
    if last.models and last.command == command_digest(config):
        return last.models
    return _objects(models_in_command(config), config) or last.models


def _objects(names: tuple[str, ...], config: InstanceConfig) -> tuple[dict[str, Any], ...]:
    return tuple(model_object(name, config.name) for name in names)
