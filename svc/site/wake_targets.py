"""`svc wake` and `svc sleep`: find the instances for names and models, ask the router, and wait for the result."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import requests

from svc.base.errors import CommandError, NotFound, SvcError
from svc.base.http import fetch
from svc.base.similar_names import did_you_mean
from svc.client.router_operator import RouterOperator
from svc.protocol.instance_names import instance_name, instance_service
from svc.protocol.service import ASLEEP
from svc.terminal.progress import Waiting

POLL_INTERVAL_SECONDS = 0.5
HTTP_TIMEOUT_SECONDS = 2.0
RUNNING, UNREGISTERED = "running", "not registered"


@dataclasses.dataclass(frozen=True, slots=True)
class WakeTarget:
    """An instance to wake or to put to sleep, or a model of which any instance will do.

    `services` has the service names of the instance, or of all instances of the model.
    """

    name: str
    services: tuple[str, ...]
    is_model: bool = False


def find_targets(names: Sequence[str], services: Iterable[Mapping[str, Any]], with_models: bool) -> list[WakeTarget]:
    """Return a target for each name, which may name an instance, its babysitter or, if `with_models`, a model.

    If an instance and a model have the same name, the instance is the target. Raise NotFound for an unknown name.
    """
    by_name = {service["name"]: service for service in services}
    return [_target(name, by_name, with_models) for name in dict.fromkeys(names)]


def _target(name: str, services: Mapping[str, Mapping[str, Any]], with_models: bool) -> WakeTarget:
    for service_name in (name, instance_service(instance_name(name))):
        if service_name in services:
            return WakeTarget(instance_name(service_name), (service_name,))
    models: dict[str, list[str]] = {}
    for service_name, service in services.items():
        for model in service.get("models", ()):
            models.setdefault(model, []).append(service_name)
    if with_models and name in models:
        return WakeTarget(name, tuple(models[name]), is_model=True)
    known = [*map(instance_name, services), *(models if with_models else ())]
    kind = "instance and no model" if with_models else "instance"
    raise NotFound(f"the router knows no {kind} {name!r}; {did_you_mean(name, known, '`svc services` shows those')}")


def wake(router: RouterOperator, target: WakeTarget) -> str:
    """Ask the router to wake the instance, or an instance of the model; return the line to print."""
    answer = router.wake_model(target.name) if target.is_model else router.wake_instance(target.services[0])
    on = f" on {instance_name(str(answer.get('name', '')))}" if target.is_model else ""
    return f"{target.name}: {'awake' if answer.get('status') == RUNNING else 'wakes'}{on}{_because(answer)}"


def put_to_sleep(router: RouterOperator, target: WakeTarget) -> str:
    """Ask the router to put an instance to sleep; return the line to print."""
    answer = router.sleep_instance(target.services[0])
    text = "asleep" if answer.get("status") == ASLEEP else "sleeps when its requests have ended"
    return f"{target.name}: {text}{_because(answer)}"


def _because(answer: Mapping[str, Any]) -> str:
    return f": {answer['reason']}" if answer.get("reason") else ""


def is_awake(service: Mapping[str, Any]) -> bool:
    """Return whether the router sends requests to an instance."""
    return service.get("status") == RUNNING and bool(service.get("healthy", True))


def is_asleep(service: Mapping[str, Any]) -> bool:
    """Return whether an instance is asleep."""
    return service.get("status") == ASLEEP


def wait(
    router: RouterOperator,
    targets: Iterable[WakeTarget],
    is_done: Callable[[Mapping[str, Any]], bool],
    result: str,
    timeout: float,
    progress: Waiting,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Wait until `is_done` is true of an instance of each target. `result` names the state that is waited for.

    Raise CommandError after `timeout` seconds, with the state of the first target that is not done.
    """
    left, end = {target.name: target for target in targets}, clock() + timeout
    while left:
        services = _services(router)
        late = []
        for target in list(left.values()):
            own = {name: services[name] for name in target.services if name in services}
            if done := next((name for name, service in own.items() if is_done(service)), None):
                progress.done(target.name, result + (f" on {instance_name(done)}" if target.is_model else ""))
                del left[target.name]
                continue
            states = [_state_text(name, service, target.is_model) for name, service in own.items()] or [UNREGISTERED]
            progress.show(target.name, "; ".join(states))
            late.append(f"{target.name}: not {result} after {timeout:g} s: {'; '.join(states)}")
        if late and clock() > end:
            raise CommandError(f"{late[0]}; `svc doctor` and `svc logs` show more")
        if left:
            sleep(POLL_INTERVAL_SECONDS)


def _services(router: RouterOperator) -> dict[str, Mapping[str, Any]]:
    """Return the router's instances by name; {} while the router does not answer."""
    try:
        return {service["name"]: service for service in router.services()}
    except SvcError:
        return {}


def _state_text(name: str, service: Mapping[str, Any], with_name: bool) -> str:
    in_flight = f"{service['in_flight']} in flight" if service.get("in_flight") else ""
    parts = (instance_name(name) if with_name else "", str(service.get("status", "")), _reason(service) or in_flight)
    return ": ".join(filter(None, parts))


def _reason(service: Mapping[str, Any]) -> str:
    """Return what an instance waits for, as its babysitter reports; "" if the babysitter cannot be reached."""
    url = service.get("babysitter_url")
    try:
        offer = fetch("GET", f"{url}/wake", HTTP_TIMEOUT_SECONDS).json() if url else None
    except (requests.RequestException, ValueError):
        return ""
    return str(offer.get("reason") or "") if isinstance(offer, dict) else ""
