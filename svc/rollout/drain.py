"""Drains, undrains and removes instances by hand, for `svc drain`, `svc undrain` and `svc remove`.

A drained instance has a drain mark in the registry: routers send it no new requests, and its requests in flight finish.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from svc.base.errors import CommandError
from svc.client.registry import RegistryClient
from svc.client.router import RouterClient
from svc.client.service_names import instance_named, service_named
from svc.rollout.handover_text import UNKNOWN_TO_REGISTRY, counts_text
from svc.rollout.observation import requests_in_flight
from svc.site.access import explaining_errors
from svc.terminal.progress import Waiting

POLL_INTERVAL_SECONDS = 0.2


def drain(client: RegistryClient, names: Sequence[str]) -> list[str]:
    """Set the drain mark of these instances in the registry; return their service names.

    `names` may contain names of instances and of babysitters.
    """
    return list(_for_each("drain", client, names, instance_named, client.drain))


def hand_over(client: RegistryClient, names: Sequence[str]) -> bool:
    """Ask routers to move the streams of these drained services to other instances.

    Return False if the registry is older and knows no handover.
    """
    with explaining_errors(f"hand over the streams of {', '.join(names)}", client):
        services = [client.drain(name, handover=True) for name in names]
    return all(service.get("handover") for service in services)


def undrain(client: RegistryClient, names: Sequence[str]) -> dict[str, bool]:
    """Clear the drain mark of these instances; return, for each service name, whether the mark was set before."""
    before = _for_each("undrain", client, names, instance_named, lambda name: client.drain(name, drained=False))
    return {name: bool(service.get("drained")) for name, service in before.items()}


def remove(client: RegistryClient, names: Sequence[str]) -> list[str]:
    """Remove these services from the registry; return their names."""
    return list(_for_each("remove", client, names, service_named, client.deregister))


def _for_each(
    verb: str,
    client: RegistryClient,
    names: Sequence[str],
    resolve: Callable[[str, Mapping[str, Mapping[str, Any]]], str],
    act: Callable[[str], object],
) -> dict[str, Mapping[str, Any]]:
    """Call `act` with the service name that `resolve` returns for each name, once for each service.

    Return a dict from service names to the services before the calls. Raise NotFound, before the first call, if a name
    refers to no service. `verb` names the action in error messages.
    """
    with explaining_errors(f"{verb} {', '.join(names)}", client):
        services = {service["name"]: service for service in client.services()}
        resolved = list(dict.fromkeys(resolve(name, services) for name in names))
        for name in resolved:
            act(name)
    return {name: services[name] for name in resolved}


def wait_until_idle(
    names: Sequence[str],
    router_url: str,
    timeout: float,
    progress: Waiting,
    sleep: Callable[[float], object] = time.sleep,
    handover: float | None = None,
    hand_over: Callable[[Sequence[str]], bool] = lambda names: False,
) -> None:
    """Wait until the router has no request in flight for these instances.

    `sleep` is called before each further query of the router. After `handover` seconds, call `hand_over` with the
    instances that have requests left. Raise CommandError after `timeout` seconds.
    """
    end = time.monotonic() + timeout
    handover_at = float("inf") if handover is None else time.monotonic() + handover
    if RouterClient(router_url).instance_loads() is None:
        raise CommandError(f"the router does not answer at {router_url}; give its address with --router-url")
    busy = dict.fromkeys(names, "")
    while busy := _busy(busy, router_url, progress):
        if time.monotonic() >= handover_at:
            handover_at = float("inf")
            known = hand_over(list(busy))
            progress.note(f"{', '.join(busy)}: {'streams move to other instances' if known else UNKNOWN_TO_REGISTRY}")
        if time.monotonic() > end:
            raise CommandError(
                f"{', '.join(busy)}: requests in flight after {timeout:g} s ({'; '.join(busy.values())}), "
                "and it stays drained; wait again, or stop it and cut them"
            )
        sleep(POLL_INTERVAL_SECONDS)


def _busy(names: Iterable[str], router_url: str, progress: Waiting) -> dict[str, str]:
    """Return the instances that have requests in flight or may still get some, each with a text about these requests.

    If the router does not answer, all instances are returned.
    """
    requests, busy = RouterClient(router_url).requests_in_flight(), {}
    for name in names:
        count = requests_in_flight(name, [requests and requests.loads])
        if count == 0:
            progress.done(name, "nothing in flight")
        else:
            handover = counts_text(requests.handovers.get(name, {})) if requests else ""
            in_flight = "no answer" if count is None else f"{count} in flight"
            busy[name] = "; ".join(filter(None, (in_flight, handover)))
            progress.show(name, busy[name])
    return busy
