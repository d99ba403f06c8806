"""Refresh the model lists of instances after a change, and wait until the registry has the new lists."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

from svc.base.errors import SvcError, message_of
from svc.client.registry import RegistryClient
from svc.client.registry_watch import RegistryWatch
from svc.management.engine_request import EngineResponse, ManagementRequest

REFRESH = ManagementRequest("POST", "/models/refresh", timeout=10.0)  # sent to a babysitter
LIST = ManagementRequest("GET", "/v1/models", timeout=10.0)  # sent to a static service, which has no babysitter
REGISTRY_TIMEOUT_SECONDS = 5.0
ROUTER_DELAY_SECONDS = 0.3  # ample: routers watch the registry's list and read a change in milliseconds
STATUSES_NO_SUCH_PATH = (404, 405)


@dataclasses.dataclass(frozen=True, slots=True)
class RefreshedModels:
    """The models that an instance lists now. `problem` is the reason why the registry or the router may lack them."""

    models: Sequence[str] | None = None
    problem: str = ""


def refreshed_models(response: EngineResponse, babysitter: str | None = None) -> RefreshedModels:
    """Return the models in a response. `babysitter` is the URL of its sender; None: the instance itself sent it."""
    if response.ok:
        return _models_in_answer(response)
    if babysitter is None:
        return RefreshedModels(problem=f"its model list cannot be read: {_failure_reason(response)}")
    if response.status in STATUSES_NO_SUCH_PATH:
        return RefreshedModels(
            problem="its babysitter is older than this command and finds a new model within a heartbeat"
        )
    return RefreshedModels(
        problem=f"the babysitter at {babysitter} could not refresh the model list: {_failure_reason(response)}"
    )


def _models_in_answer(response: EngineResponse) -> RefreshedModels:
    answer = response.json()
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list):
        return RefreshedModels(problem="the answer is no list of models")
    return RefreshedModels(
        [model["id"] for model in data if isinstance(model, dict) and isinstance(model.get("id"), str)]
    )


def _failure_reason(response: EngineResponse) -> str:
    return message_of(response.json()) or response.reason or f"it answers {response.status}"


def await_registry(
    client: RegistryClient,
    lists: Mapping[str, Sequence[str]],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    timeout: float = REGISTRY_TIMEOUT_SECONDS,
) -> dict[str, str]:
    """Wait until the registry lists these models for each instance.

    Return a dict with the reason for each instance whose models are not listed in time.
    """
    watch, deadline = RegistryWatch(client), clock() + timeout
    missing: dict[str, str] = {}
    while (remaining := deadline - clock()) > 0:
        try:
            registered = {service["name"]: service for service in watch.next_list(remaining).services}
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
