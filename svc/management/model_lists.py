"""The instances' model lists after a change: read again at once, and in the registry before the command ends."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

from svc.base.errors import SvcError, message_of
from svc.client.registry import RegistryClient
from svc.client.registry_watch import Watch
from svc.management.send import Outcome, Request

REFRESH = Request("POST", "/models/refresh", timeout=10.0)  # at a babysitter
LIST = Request("GET", "/v1/models", timeout=10.0)  # at a static service, which has no babysitter
REGISTRY_TIMEOUT_SECONDS = 5.0
ROUTER_DELAY_SECONDS = 0.3  # a router follows the registry's list: it has a change within milliseconds
NO_SUCH_PATH = (404, 405)


@dataclasses.dataclass(frozen=True, slots=True)
class RefreshedModels:
    """What an instance lists now; `problem` says why the registry or the router may not know it yet."""

    models: Sequence[str] | None = None
    problem: str = ""


def read(outcome: Outcome, babysitter: str | None = None) -> RefreshedModels:
    """Return the list in the answer of an instance's babysitter, or of the instance itself where it has none."""
    if outcome.ok:
        return _listed(outcome)
    if babysitter is None:
        return RefreshedModels(problem=f"its model list cannot be read: {_reason(outcome)}")
    if outcome.status in NO_SUCH_PATH:
        return RefreshedModels(
            problem="its babysitter is older than this command and finds a new model within a heartbeat"
        )
    return RefreshedModels(
        problem=f"the babysitter at {babysitter} could not refresh the model list: {_reason(outcome)}"
    )


def _listed(outcome: Outcome) -> RefreshedModels:
    answer = outcome.json()
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list):
        return RefreshedModels(problem="the answer is no list of models")
    return RefreshedModels(
        [model["id"] for model in data if isinstance(model, dict) and isinstance(model.get("id"), str)]
    )


def _reason(outcome: Outcome) -> str:
    return message_of(outcome.json()) or outcome.reason or f"it answers {outcome.status}"


def await_registry(
    client: RegistryClient,
    lists: Mapping[str, Sequence[str]],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    seconds: float = REGISTRY_TIMEOUT_SECONDS,
) -> dict[str, str]:
    """Wait until the registry lists these models of these instances; return why it does not, by instance."""
    watch, deadline = Watch(client), clock() + seconds
    missing: dict[str, str] = {}
    while (left := deadline - clock()) > 0:
        try:
            registered = {service["name"]: service for service in watch.look(left).services}
        except SvcError as error:
            missing = dict.fromkeys(lists, f"the registry does not answer: {error.message}")
        else:
            missing = {
                name: "not yet in the registry; the babysitter retries"
                for name, models in lists.items()
                if name not in registered or registered[name].get("metadata", {}).get("models") != list(models)
            }
        if not missing:
            break
        sleep(watch.pause)
    return missing
