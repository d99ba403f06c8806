"""The check of a static service: its health, a babysitter beside it, and its models where its file names none.

Its health is read from the first of these that exists:

1. The `health_url` that its file names: 2xx is healthy.
2. Its babysitter: the one that its metadata names, or what answers like a babysitter on the next port.
3. Its own /health. A server without that endpoint (404, 405, 501) is healthy as long as it answers HTTP.
"""

import logging
from collections.abc import Callable

import msgspec

from svc.client import probe
from svc.protocol.service import MAX_MODELS, babysitter_url
from svc.router.balance.target import NO_DISCOVERY, Target
from svc.router.state import RouterState

log = logging.getLogger(__name__)
BABYSITTER_TIMEOUT_SECONDS = 1.0  # of the first request to a port where a babysitter may listen
BABYSITTER_RETRY_SECONDS = 60.0  # until a port without a babysitter is asked again
BABYSITTER_KEYS = ("babysitter", "service")  # in the JSON of a babysitter's /health


class StaticCheck:
    """Call it with a static service: it returns whether that is healthy, None where nothing answers.

    It keeps the babysitter and the models that it discovers in `state`. `verify`: the CA certificates for https.
    """

    def __init__(self, state: RouterState, clock: Callable[[], float], timeout: float, verify: str | bool) -> None:
        self._state = state
        self._clock = clock
        self._timeout = timeout
        self._verify = verify
        self._without_models: set[str] = set()  # services that list no models, as they were logged
        self._refused: dict[str, str] = {}  # services that refused this key, as they were logged
        self._absent: dict[tuple[str, int], float] = {}  # ports without a babysitter, and when to ask again

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
        """Log once that a service asks for a key; with another key it may be logged again."""
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
        """Take the models of a service from its own list; without a readable list, keep the last one."""
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
        """Return the status of its health, whether only 2xx is healthy, and whether it is a babysitter's answer."""
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
        """Return the status of the health of the babysitter on the next port; None where there is none."""
        beside = (target.host, target.port + 1)
        known = self._state.discoveries.get(target.name, NO_DISCOVERY).babysitter
        if any((t.host, t.port) == beside for t in self._state.balancer.table.targets):
            return None  # that port is another instance's
        if self._absent.get(beside, float("-inf")) > self._clock():
            return None
        timeout = self._timeout if known else min(BABYSITTER_TIMEOUT_SECONDS, self._timeout)
        status, body = probe.answer(f"{babysitter_url(target.url)}/health", timeout)
        if is_babysitter(body):
            return status
        self._absent[beside] = self._clock() + BABYSITTER_RETRY_SECONDS
        return None


def is_babysitter(body: bytes) -> bool:
    """Return whether the body of a /health is a babysitter's; any other program may listen on that port."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(answer, dict) and all(key in answer for key in BABYSITTER_KEYS)
