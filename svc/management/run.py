"""Sends a management request to instances, past the router, and refreshes their model lists afterwards."""

import dataclasses
import socket
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from msgspec import structs

from svc.base.address import is_loopback
from svc.client.registry import RegistryClient
from svc.management import model_lists
from svc.management.model_lists import RefreshedModels
from svc.management.select import Fleet, skip_reason, unreachable_reason
from svc.management.send import Outcome, Request, fan_out, send
from svc.protocol.engine_key import bearer
from svc.router.balance.table import Target
from svc.router.sources.instance_checks import system_ca

STATIC_NOTE = (
    "a static service: the router reads its list with each health check, and when a request names a new model; "
    "send the first request again if it is answered 503"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """The outcome at one instance. `skipped`: why it got no request."""

    target: Target
    outcome: Outcome = dataclasses.field(default_factory=Outcome)
    skipped: str = ""
    models: RefreshedModels | None = None

    @property
    def ok(self) -> bool:
        return not self.skipped and self.outcome.ok


class Engines:
    """Sends requests to engines. `key` returns an instance's upstream API key, empty where it has none."""

    def __init__(self, key: Callable[[Target], str], upstream_ca: str = "") -> None:
        self._key = key
        self._verify: str | bool = upstream_ca or system_ca() or True

    def call(self, request: Request, target: Target) -> Callable[[], Outcome]:
        headers = bearer(self._key(target))
        return lambda: send(request, target.url, headers, self._verify)

    def discover(self, targets: Sequence[Target]) -> list[Target]:
        """Return static services with the models that they list, where their file names none."""
        calls = {t.name: self.call(model_lists.LIST, t) for t in targets if t.discovers_models}
        outcomes = fan_out(model_lists.LIST.timeout, calls)
        lists = {name: model_lists.read(outcome).models or () for name, outcome in outcomes.items()}
        return [structs.replace(t, models=tuple(lists[t.name])) if t.name in lists else t for t in targets]


class Management:
    """Runs management requests at a fleet. `client` is None where no registry is used."""

    def __init__(self, fleet: Fleet, client: RegistryClient | None, engines: Engines) -> None:
        self._fleet = fleet
        self._client = client
        self._engines = engines

    def run(self, request: Request, targets: Sequence[Target], named: bool) -> list[Result]:
        """Send the request to each of the targets; after one that changes something, read their model lists again."""
        skipped = {target.name: self._skip_reason(target, named) for target in targets}
        sent = [target for target in targets if not skipped[target.name]]
        outcomes = self._send_all(request, sent)
        lists = self._refresh(sent) if request.changes else {}
        return [
            Result(target, outcomes.get(target.name, Outcome()), skipped[target.name], lists.get(target.name))
            for target in targets
        ]

    def _skip_reason(self, target: Target, named: bool) -> str:
        entry = self._fleet.services.get(target.name)
        if target.static or entry is None or self._client is None:
            return ""
        here = is_loopback(urlsplit(self._client.urls[0]).hostname or "")
        return unreachable_reason(entry, here, socket.gethostname()) or skip_reason(target, named)

    def _send_all(self, request: Request, targets: Sequence[Target]) -> dict[str, Outcome]:
        return fan_out(request.timeout, {target.name: self._engines.call(request, target) for target in targets})

    def _refresh(self, targets: Sequence[Target]) -> dict[str, RefreshedModels]:
        """Read the lists, and wait until the registry has those that changed, and routers have read it."""
        lists = self._read_lists(targets)
        changed = {
            target.name: lists[target.name].models or ()
            for target in targets
            if lists[target.name].models is not None and set(lists[target.name].models or ()) != set(target.models)
        }
        registered = {name: models for name, models in changed.items() if name in self._fleet.registered}
        if registered and self._client is not None:
            missing = model_lists.await_registry(self._client, registered)
            time.sleep(model_lists.ROUTER_DELAY_SECONDS)
            lists.update({name: dataclasses.replace(lists[name], problem=why) for name, why in missing.items()})
        static = [name for name in changed if name not in registered]
        return lists | {name: dataclasses.replace(lists[name], problem=STATIC_NOTE) for name in static}

    def _read_lists(self, targets: Sequence[Target]) -> dict[str, RefreshedModels]:
        outcomes = fan_out(model_lists.REFRESH.timeout, {target.name: self._list_call(target) for target in targets})
        return {target.name: model_lists.read(outcomes[target.name], target.babysitter_url) for target in targets}

    def _list_call(self, target: Target) -> Callable[[], Outcome]:
        babysitter = target.babysitter_url
        if babysitter is None:
            return self._engines.call(model_lists.LIST, target)
        return lambda: send(model_lists.REFRESH, babysitter.rstrip("/"), {})
