"""The endpoints of an instance on demand: GET /wake, POST /wake, POST /sleep."""

import hmac
from collections.abc import Callable
from typing import Any

import msgspec

from svc.babysitter.monitor import Monitor
from svc.babysitter.on_demand.demands import WakeRequest
from svc.babysitter.on_demand.on_demand_loop import OnDemand
from svc.base.errors import BadRequest, Conflict, SvcError, Unauthorized
from svc.base.json_app import JsonApp, Response, WsgiRequest, json_response
from svc.config.instance.model import InstanceConfig
from svc.supervision.on_demand.instance_facts import Offer

UNSUPERVISED = "no supervisord runs it; start it with `svc up`"


def install(
    app: JsonApp,
    monitor: Monitor,
    on_demand: OnDemand | None,
    begin_round: Callable[[], object],
    key: Callable[[], str],
) -> None:
    """Add the endpoints. `begin_round` starts a round of `on_demand` at once; `key` returns the instance's API key."""

    @app.get("/wake")
    def offer(request: WsgiRequest) -> Response:
        """What it would cost to wake the instance: whether others have to give way, and how long it would take."""
        fields = _offer(monitor.config, on_demand)
        return json_response({"name": monitor.config.name, "status": _status(monitor), **fields})

    @app.post("/wake")
    def wake(request: WsgiRequest) -> Response:
        """Wake the instance for requests that wait, or keep it awake.

        A router repeats its demand every second; a demand that is not repeated ends after three seconds.
        """
        config = monitor.config
        _check_key(config, key(), request)
        instance, wanted = _on_demand(config, on_demand), _wake_request(request.body())
        is_new = instance.facts.demands.current() is None
        instance.facts.wake(wanted)
        if is_new:
            begin_round()
        state = {"wake_timeout": config.wake_timeout, "load_seconds": instance.history.load_seconds}
        return json_response({"status": _status(monitor), "reason": instance.reason, **state}, 202)

    @app.post("/sleep")
    def sleep(request: WsgiRequest) -> Response:
        """Put the instance to sleep when its requests in flight have ended."""
        _check_key(monitor.config, key(), request)
        instance = _on_demand(monitor.config, on_demand)
        instance.facts.sleep()
        begin_round()
        return json_response({"status": _status(monitor), "reason": instance.reason}, 202)


def _status(monitor: Monitor) -> str:
    return monitor.snapshot.state.status or "unknown"


def _offer(config: InstanceConfig, on_demand: OnDemand | None) -> dict[str, Any]:
    try:
        offer = _on_demand(config, on_demand).offer()
    except SvcError as error:
        offer = Offer(False, reason=error.message)
    fields: dict[str, Any] = msgspec.to_builtins(offer)
    return fields


def _on_demand(config: InstanceConfig, on_demand: OnDemand | None) -> OnDemand:
    if not config.on_demand:
        raise Conflict(
            f"{config.name} is not on demand: it neither sleeps nor wakes; set on_demand = true under [babysitter]",
            code="not_on_demand",
        )
    if on_demand is None:
        raise Conflict(f"{config.name} cannot sleep or wake: {UNSUPERVISED}", code="not_supervised")
    return on_demand


def _check_key(config: InstanceConfig, key: str, request: WsgiRequest) -> None:
    """Raise Unauthorized unless the request has the instance's API key, if the instance has one."""
    if not config.backend.api_key_file:
        return
    offered = (request.headers.get("authorization") or "").encode("utf-8", "replace")
    if not key or not hmac.compare_digest(offered, f"Bearer {key}".encode()):
        raise Unauthorized(f"{config.name} has an API key; send Authorization: Bearer KEY", code="invalid_api_key")


def _wake_request(body: bytes) -> WakeRequest:
    if not body.strip():
        return WakeRequest()
    try:
        return msgspec.json.decode(body, type=WakeRequest)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no demand: {error}; send waiting, oldest, hold and by, or nothing") from None
