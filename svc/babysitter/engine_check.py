"""One readiness check of an engine: its health endpoint, and its model list if the TOML contains no models."""

from collections.abc import Callable
from time import monotonic

import gevent

from svc.babysitter.engine_client import key_setting
from svc.babysitter.engine_status import NO_ANSWER, Readiness
from svc.client import probe
from svc.client.probe import ModelList
from svc.config.instance.model import InstanceConfig

MODEL_LIST_PATH = "/v1/models"
MIN_MODEL_LIST_TIMEOUT_SECONDS = 0.1
NO_MODELS = (
    "it lists no models at /v1/models or /models; a server that has no such list needs [metadata] models in its TOML"
)


class EngineCheck:
    """A callable that takes the root URL of an engine and a timeout in seconds, and returns the engine's Readiness.

    An engine is ready by these rules.

    1. If the TOML sets a health path, that path must return 2xx.
    2. If the TOML sets no health path, the default path must return no 5xx status other than 501. The statuses 404, 405
       and 501 mean that the server has no such endpoint.
    3. If the TOML disables the health check, any response of the engine is enough.
    4. If the TOML lists models, those are the engine's models. Otherwise the engine's own list must not be empty.

    A model list alone does not prove readiness: some engines (SGLang) list their models before they are warm.
    """

    def __init__(
        self,
        config: InstanceConfig,
        status: Callable[[str, float], int] = probe.status,
        list_models: Callable[[str, float], ModelList] = probe.model_list,
    ) -> None:
        self.path = config.health_endpoint
        self.required = config.health_path is not None
        self.configured = [model_object(name, config.name) for name in config.models]
        self.key_setting = key_setting(config)
        self.key_file = config.backend.api_key_file
        self.status = status
        self.list_models = list_models

    def __call__(self, url: str, timeout: float) -> Readiness:
        deadline = monotonic() + timeout
        if reason := self._health_problem(url, timeout):
            return Readiness(reason=reason)
        if self.configured:
            return Readiness(self.configured)
        listed = self.list_models(url, max(MIN_MODEL_LIST_TIMEOUT_SECONDS, deadline - monotonic()))
        if listed.models:
            return Readiness(listed.models)
        if listed.status in (401, 403):
            return Readiness(reason=self._key_problem(listed.status), misconfigured=True)
        return Readiness(reason=NO_MODELS if listed.status else NO_ANSWER)

    def _key_problem(self, status: int) -> str:
        setting = self.key_setting
        if self.key_file:
            return (
                f"it refuses the key in {self.key_file} ({status}); write the engine's key into {self.key_file}, "
                f"or name another file with {setting}"
            )
        return f"it wants an API key ({status}); write the key into a file and name that: {setting}"

    def _health_problem(self, url: str, timeout: float) -> str:
        """Return why the engine is not healthy, or "" if it is healthy or its health is not checked."""
        if not self.path and not self.configured:
            return ""
        path = self.path or MODEL_LIST_PATH
        status = self.status(url + path, timeout)
        if not status:
            return NO_ANSWER
        healthy = not self.path or probe.status_is_healthy(status, self.required)
        return "" if healthy else f"GET {path} answers {status}"


def model_object(name: str, owner: str) -> dict[str, object]:
    """Return the entry in OpenAI's model list for a model from the TOML."""
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}


def with_deadline(check: Callable[[str, float], Readiness]) -> Callable[[str, float], Readiness]:
    """Return a function like `check` that ends after at most twice the timeout, even if a response arrives slowly."""

    def limited(url: str, timeout: float) -> Readiness:
        with gevent.Timeout(2 * timeout, False):
            return check(url, timeout)
        return Readiness(reason=NO_ANSWER)

    return limited
