"""The endpoints with which an operator wakes instances on demand, and puts them to sleep."""

import logging
import math
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Blueprint, request

from svc.base.errors import BadRequest, Conflict, NotFound, SvcError, Unavailable
from svc.protocol.event import OPERATOR_SOURCE, OPERATOR_TOKEN_HEADER, OPERATOR_USER_HEADER
from svc.router.access import client_address, identify, operators_registry, require_operator
from svc.router.balance.target import Target
from svc.router.balance.wakes import ModelAsleep
from svc.router.state import RouterState
from svc.router.waking.answers import Acceptance
from svc.router.waking.babysitters import Babysitters, Refusal
from svc.router.waking.choice import choose, why_impossible
from svc.router.waking.need import instances_on_demand

if TYPE_CHECKING:  # not at run time: a router without a registry does not load the registry's client
    from svc.client.registry import RegistryClient

log = logging.getLogger(__name__)
MAX_HOLD_SECONDS = 7 * 86_400.0
RETRY_SECONDS = 60


class _WakeFields(msgspec.Struct, forbid_unknown_fields=True):
    hold: float | None = None


def wake_endpoints(state: RouterState) -> Blueprint:
    waking = Blueprint("waking", __name__)
    babysitters = Babysitters(state.settings.upstream_ca)

    @waking.before_request
    def require() -> None:
        require_operator(state)

    @waking.post("/instances/<name>/wake")
    def wake_instance(name: str) -> tuple[dict[str, Any], int]:
        """Wake an instance on demand, and keep it awake for `hold` seconds. Operators only."""
        target = instance_on_demand(state, name)
        return _wake(state, babysitters, target, _hold(target)), 202

    @waking.post("/instances/<name>/sleep")
    def put_to_sleep(name: str) -> tuple[dict[str, Any], int]:
        """Put an instance on demand to sleep, once its requests have ended. Operators only."""
        target = instance_on_demand(state, name)
        answer = babysitters.put_to_sleep(target, {"by": _sender(state)})
        result = _result(target, answer)
        _report(state, "sleep", target.name)
        return result, 202

    @waking.post("/models/<id:model>/wake")
    def wake_model(model: str) -> tuple[dict[str, Any], int]:
        """Wake the instance of the model that costs least to wake; keep it awake for `hold` seconds. Operators only."""
        target = _cheapest(state, babysitters, model)
        return _wake(state, babysitters, target, _hold(target)), 202

    return waking


def instance_on_demand(state: RouterState, name: str) -> Target:
    """Return the instance; raise NotFound if there is none, NotOnDemand if it is always awake."""
    target = next((target for target in state.balancer.table.targets if target.name == name), None)
    if target is None:
        raise NotFound(f"there is no instance {name!r}; GET /services lists them", code="instance_not_found")
    if not target.is_on_demand:
        raise Conflict(f"{name} is always awake: set on_demand = true under [babysitter] in its TOML")
    return target


def _cheapest(state: RouterState, babysitters: Babysitters, model: str) -> Target:
    """Return the instance of a model that is awake already or starts, else the one that is woken at the least cost."""
    model = state.balancer.resolve_model(model) or model
    instances = instances_on_demand(state.balancer.table).get(model)
    if instances is None:
        if model in state.balancer.table.models:
            raise Conflict(f"model {model!r} has no instance on demand that is not drained")
        raise NotFound(f"The model '{model}' does not exist", param="model", code="model_not_found")
    for target in (*instances.awake, *instances.starting):
        return target
    if not instances.asleep:
        raise Conflict(f"no instance of {model} is asleep: they have failed, or were stopped; svc status shows why")
    offers = babysitters.offers(instances.asleep)
    valid = {name: offer for name, offer in offers.items() if offer is not None}
    chosen = choose(valid, (), 1)
    if not chosen:
        reason = why_impossible(valid) or "no babysitter answers"
        raise ModelAsleep(f"no instance of {model} can be woken: {reason}", RETRY_SECONDS)
    return next(target for target in instances.asleep if target.name == chosen[0])


def _hold(target: Target) -> float:
    """Return for how many seconds the instance is to be kept awake, by default as long as its wake may take."""
    body = request.get_data()
    try:
        hold = msgspec.json.decode(body, type=_WakeFields).hold if body else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f'cannot read the body: {error}; send {{"hold": SECONDS}}, or nothing') from None
    if hold is None:
        return target.wake_timeout
    if not (math.isfinite(hold) and 0 <= hold <= MAX_HOLD_SECONDS):
        raise BadRequest(f"hold: must be from 0 to {MAX_HOLD_SECONDS:g} seconds, not {hold:g}", param="hold")
    return hold


def _wake(state: RouterState, babysitters: Babysitters, target: Target, hold: float) -> dict[str, Any]:
    fields = {"waiting": 0, "oldest": 0.0, "hold": hold, "by": _sender(state)}
    result = _result(target, babysitters.demand([(target, fields)])[target.name])
    _report(state, "wake", target.name)
    return result


def _sender(state: RouterState) -> str:
    """Return the sender's name for an operator's demand.

    A demand replaces the previous one of the same sender, so the name differs from that of the router's own demands.
    """
    return f"operator-at-{state.event_reporter.source}"


def _result(target: Target, answer: Acceptance | Refusal) -> dict[str, Any]:
    """Return the response's body; raise SvcError if the babysitter has refused."""
    if isinstance(answer, Refusal):
        message = f"{target.name}: {answer.reason}"
        raise Conflict(message) if answer.status == 409 else Unavailable(message)
    return {"name": target.name, **msgspec.to_builtins(answer)}


def _report(state: RouterState, kind: str, name: str) -> None:
    """Report the operator's action to the registry, for the audit."""
    log.info("an operator at %s: %s %s", client_address(state), kind, name)
    if state.settings.registry_url:
        event = {"kind": kind, "service": name, "source": OPERATOR_SOURCE, "message": "at a router"}
        try:
            _operators_registry(state).report_events([event])
        except SvcError as error:
            log.warning("the registry's events do not show this: %s", error)


def _operators_registry(state: RouterState) -> "RegistryClient":
    """Return a client of the registry whose requests show there which operator has acted.

    If the operator has sent a token of the registry, the client uses this token. Otherwise it uses the router's own
    token, and names the operator in a header: by the API key, or as the user whom a command on this machine reports.
    """
    if token := request.headers.get(OPERATOR_TOKEN_HEADER):
        return operators_registry(state, token)
    from svc.client.registry import RegistryClient  # here, so that a router without a registry does not load it

    settings, key = state.settings, identify(state)
    user = f"key-{key.name}" if key is not None else request.headers.get(OPERATOR_USER_HEADER, "")
    headers = {OPERATOR_USER_HEADER: user} if user else {}
    urls = settings.registry_url.split(",")
    return RegistryClient(urls, settings.registry_token_file, settings.health_timeout, headers=headers)
