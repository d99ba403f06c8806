"""The babysitter's HTTP client for its engine. It sends the engine's API key if the TOML has a key file."""

import os
from pathlib import Path
from typing import Any

import requests

from svc.base.http import fetch
from svc.base.secret_file import SecretFile
from svc.client import probe
from svc.client.probe import ModelList
from svc.config.instance.model import InstanceConfig
from svc.protocol.continuation import PROBE_USER_AGENT
from svc.protocol.engine_key import bearer, parse_key


def key_setting(config: InstanceConfig) -> str:
    """Return the name of the setting with the engine's key file, for error messages."""
    return f"[backend] api_key_file in {os.path.relpath(config.source)}"


def get_text(url: str, timeout: float, key: str = "") -> str | None:
    """Return the body of a 2xx or 3xx response; "" for another status, None without a response in `timeout` seconds.

    Accept any certificate.
    """
    try:
        answer = fetch("GET", url, timeout, total=timeout, verify=False, headers=bearer(key))
    except requests.RequestException:
        return None
    return answer.text if answer.ok else ""


class EngineClient:
    """Sends requests to the engine, with the API key from a file that is read again when it changes.

    The constructor raises ConfigError if the file does not contain exactly one key.
    """

    def __init__(self, config: InstanceConfig) -> None:
        self._key_file: SecretFile[str] | None = None
        if config.backend.api_key_file:
            self._key_file = SecretFile(Path(config.backend.api_key_file), parse_key, key_setting(config), "")
            self._key_file.load()

    @property
    def key(self) -> str:
        """Return the engine's API key, or "" if the TOML has no key file."""
        if self._key_file is None:
            return ""
        self._key_file.refresh()
        return self._key_file.value

    def status(self, url: str, timeout: float) -> int:
        """Send a GET and return the status code; 0 if there is no answer."""
        return probe.status(url, timeout, key=self.key)

    def list_models(self, url: str, timeout: float) -> ModelList:
        return probe.model_list(url, timeout, key=self.key)

    def get_text(self, url: str, timeout: float) -> str | None:
        return get_text(url, timeout, self.key)

    def post(self, url: str, body: dict[str, Any], timeout: float) -> int:
        """Send a POST and return the status code; raise requests.Timeout after `timeout` seconds in all."""
        return self._post(url, body, timeout, {}).status_code

    def probe_continuation(self, url: str, body: dict[str, Any], timeout: float) -> tuple[int, str]:
        """Send a request of the continuation probe, as `post` does, and return the status code and the body."""
        answer = self._post(url, body, timeout, {"User-Agent": PROBE_USER_AGENT})
        return answer.status_code, answer.content.decode("utf-8", "replace")

    def request(self, method: str, url: str, timeout: float) -> tuple[int, str]:
        """Send a request without a body; return the status code (0 if none comes in `timeout` seconds) and the body."""
        try:
            answer = fetch(method, url, timeout, total=timeout, verify=False, headers=bearer(self.key))
        except requests.RequestException:
            return 0, ""
        return answer.status_code, answer.content.decode("utf-8", "replace")

    def _post(self, url: str, body: dict[str, Any], timeout: float, headers: dict[str, str]) -> requests.Response:
        return fetch("POST", url, timeout, total=timeout, json=body, headers={**headers, **bearer(self.key)})
