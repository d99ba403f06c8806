"""The check of a static service: its health, whether it has a babysitter, and its models if the file lists none.

The health is read from the first of these that exists:

1. The `health_url` in the file: 2xx is healthy.
2. The babysitter: the URL in the metadata, or a server on the next port that answers like a babysitter.
3. The service's own /health. A service without this endpoint (404, 405, 501) is healthy as long as it answers HTTP.
"""

import logging
from collections.abc import Callable

import msgspec

from svc.client import probe
from svc.protocol.service import MAX_MODELS, babysitter_url
from svc.router.balance.target import NO_DISCOVERY, Target
from svc.router.state import RouterState

log = logging.getLogger(__name__)
BABYSITTER_TIMEOUT_SECONDS = 1.0  # timeout for requests to a port at which no babysitter has answered yet
BABYSITTER_RETRY_SECONDS = 60.0  # a port without a babysitter is tried again after this time
BABYSITTER_KEYS = ("babysitter", "service")  # keys in the JSON of a babysitter's /health


class StaticCheck:
    """The check of static services. A call returns whether a service is healthy, None if nothing answers.

    A call also stores in `state` whether the service has a babysitter, and its models. `verify`: the CA certificates
    for https.
    """

    def __init__(self, state: RouterState, clock: Callable[[], float], timeout: float, verify: str | bool) -> None:
        self._state = state
        self._clock = clock
        self._timeout = timeout
        self._verify = verify
        self._without_models: set[str] = set()  # services for which the missing-models warning was logged
        self._refused: dict[str, str] = {}  # service -> the refused API key for which a warning was logged
        self._absent: dict[tuple[str, int], float] = {}  # port without a babysitter -> when to try it again

    def __call__(self, target: Target) -> bool | None:
        status, required, babysitter = self._health(target)
        healthy = probe.status_is_healthy(status, required)
        before = self._state.discoveries.get(target.name, NO_DISCOVERY)
        self._state.set_discovery(target.name, msgspec.structs.replace(before, babysitter=babysitter))
        if healthy:
            self.discover_models(target)
            self._warn_without_models(target)
        return healthy if status else None

    def _warn_without_models(self, target: Target) -> None:
        models = self._state.discoveries.get(target.name, NO_DISCOVERY).models
        known = self._without_models | self._refused.keys()
        if target.discovers_models and not models and target.name not in known:
            self._without_models.add(target.name)
            log.warning(
                "%s lists no models at /v1/models or /models, so it gets no request that names one; "
                "name them in metadata.models of its entry in the file of static services",
                target.name,
            )

    def _warn_of_key(self, target: Target, status: int) -> None:
        """Log that a service refuses the key or requires one, once for each key."""
        if status not in (401, 403) or self._refused.get(target.name) == target.key:
            return
        self._refused[target.name] = target.key
        problem = "refuses the API key of upstream_keys_file" if target.key else "wants an API key to list its models"
        log.warning(
            "%s %s (it answers %d); write its key into upstream_keys_file, under [instances]",
            target.name,
            problem,
            status,
        )

    def discover_models(self, target: Target) -> None:
        """Read the models of a service from the list that it serves; if it cannot be read, keep the last list."""
        if not target.discovers_models:
            return
        listed, status = probe.model_list(target.url, self._timeout, self._verify, target.key_for(target.url))
        before = self._state.discoveries.get(target.name, NO_DISCOVERY)
        if listed is None:
            self._warn_of_key(target, status)
            return
        names = [model["id"] for model in listed][:MAX_MODELS]
        if before.models is None or names != [model["id"] for model in before.models]:
            log.info("%s lists %d models: %s", target.name, len(names), ", ".join(names) or "none")
            if len(listed) > MAX_MODELS:
                log.warning("%s lists %d models; only the first %d are used", target.name, len(listed), MAX_MODELS)
            models = tuple(listed[:MAX_MODELS])
            self._state.set_discovery(target.name, msgspec.structs.replace(before, models=models))

    def _health(self, target: Target) -> tuple[int, bool, bool]:
        """Return the status of the health endpoint, whether only 2xx is healthy, and whether a babysitter answered."""
        if target.health_url:
            return self._status(target, target.health_url), True, False
        if target.named_babysitter:
            return self._status(target, f"{target.named_babysitter}/health"), True, False
        status = self._babysitter_status(target)
        if status is not None:
            return status, True, True
        return self._status(target, f"{target.url}/health"), False, False

    def _status(self, target: Target, url: str) -> int:
        return probe.status(url, self._timeout, self._verify, target.key_for(url))

    def _babysitter_status(self, target: Target) -> int | None:
        """Return the status of /health at the babysitter on the next port; None if there is no babysitter."""
        beside = (target.host, target.port + 1)
        known = self._state.discoveries.get(target.name, NO_DISCOVERY).babysitter
        if any((t.host, t.port) == beside for t in self._state.balancer.table.targets):
            return None  # another instance listens on that port
        if self._absent.get(beside, float("-inf")) > self._clock():
            return None
        timeout = self._timeout if known else min(BABYSITTER_TIMEOUT_SECONDS, self._timeout)
        status, body = probe.answer(f"{babysitter_url(target.url)}/health", timeout)
        if is_babysitter(body):
            return status
        self._absent[beside] = self._clock() + BABYSITTER_RETRY_SECONDS
        return None


def is_babysitter(body: bytes) -> bool:
    """Return whether the body of a /health response is from a babysitter: any program may listen on that port."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(answer, dict) and all(key in answer for key in BABYSITTER_KEYS)
