"""Engines to send management requests to."""

from typing import Any

from svc.management.fleet import EngineInstance


def engine(name: str, *models: str, **more: Any) -> EngineInstance:
    return EngineInstance(name=name, url=f"http://{name}:8100", models=models, **more)
