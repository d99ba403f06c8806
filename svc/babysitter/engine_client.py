"""The babysitter's requests to its engine, each with the engine's API key where the TOML names one."""

import os
from pathlib import Path
from typing import Any

import gevent
import requests

from svc.babysitter import engine_load, token_probe
from svc.base.secret_file import SecretFile
from svc.client import probe
from svc.client.probe import ModelList
from svc.config.instance.model import InstanceConfig
from svc.protocol.engine_key import parse_key


def key_setting(config: InstanceConfig) -> str:
    """The setting that names the file of the engine's key, for messages."""
    return f"[backend] api_key_file in {os.path.relpath(config.source)}"


class EngineClient:
    """The key's file is read again when it has changed. Raises ConfigError for one that holds no key at the start."""

    def __init__(self, config: InstanceConfig) -> None:
        self._file: SecretFile[str] | None = None
        if config.backend.api_key_file:
            self._file = SecretFile(Path(config.backend.api_key_file), parse_key, key_setting(config), "")
            self._file.load()

    @property
    def key(self) -> str:
        if self._file is None:
            return ""
        self._file.refresh()
        return self._file.value

    def status(self, url: str, timeout: float) -> int:
        return probe.status(url, timeout, key=self.key)

    def list_models(self, url: str, timeout: float) -> ModelList:
        return probe.model_list(url, timeout, key=self.key)

    def get(self, url: str, timeout: float) -> str | None:
        return engine_load.get(url, timeout, self.key)

    def post(self, url: str, body: dict[str, Any], timeout: float) -> int:
        """Return the status of a POST; raise requests.Timeout after `timeout` seconds, even while data arrives."""
        try:
            with gevent.Timeout(timeout):
                return token_probe.post(url, body, timeout, self.key)
        except gevent.Timeout:
            raise requests.Timeout from None
