"""Send a management request directly to instances, and refresh their model lists afterwards."""

import dataclasses
import socket
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from svc.base.address import is_loopback
from svc.base.ca_certificates import system_ca
from svc.client.registry import RegistryClient
from svc.management import model_lists
from svc.management.engine_request import EngineResponse, ManagementRequest, fan_out, send
from svc.management.fleet import EngineInstance, Fleet, skip_reason, unreachable_reason
from svc.management.model_lists import RefreshedModels
from svc.protocol.engine_key import bearer

STATIC_NOTE = (
    "a static service: the router reads its list with each health check, and when a request names a new model; "
    "send the first request again if it is answered 503"
)
PLAIN_NOTE = "it has no babysitter that reads its list: repeat the `svc services add` that registered it"


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceResult:
    """The result for one instance: its response or, if no request was sent, the reason in `skipped`."""

    instance: EngineInstance
    response: EngineResponse = dataclasses.field(default_factory=EngineResponse)
    skipped: str = ""
    models: RefreshedModels | None = None

    @property
    def ok(self) -> bool:
        return not self.skipped and self.response.ok


class Engines:
    """Sends requests to engines. `key` returns an instance's upstream API key, or ""."""

    def __init__(self, key: Callable[[EngineInstance], str], upstream_ca: str = "") -> None:
        self._key = key
        self._verify: str | bool = upstream_ca or system_ca() or True

    def call(self, request: ManagementRequest, instance: EngineInstance) -> Callable[[], EngineResponse]:
        headers = bearer(self._key(instance))
        return lambda: send(request, instance.url, headers, self._verify)

    def discover(self, instances: Sequence[EngineInstance]) -> list[EngineInstance]:
        """Return the instances. Those with `discovers_models` get the models that their engines list."""
        calls = {i.name: self.call(model_lists.LIST, i) for i in instances if i.discovers_models}
        responses = fan_out(model_lists.LIST.timeout, calls)
        lists = {name: model_lists.refreshed_models(response).models or () for name, response in responses.items()}
        return [dataclasses.replace(i, models=tuple(lists[i.name])) if i.name in lists else i for i in instances]


class Management:
    """Sends management requests to the instances of a fleet. `client` is None if no registry is used."""

    def __init__(self, fleet: Fleet, client: RegistryClient | None, engines: Engines) -> None:
        self._fleet = fleet
        self._client = client
        self._engines = engines

    def run(self, request: ManagementRequest, instances: Sequence[EngineInstance], named: bool) -> list[InstanceResult]:
        """Send the request to each instance and return the results; refresh the model lists if engines may change.

        With `named`, the operator has named the instances, so that none is skipped because of its state.
        """
        skipped = {instance.name: self._skip_reason(instance, named) for instance in instances}
        sent = [instance for instance in instances if not skipped[instance.name]]
        responses = self._send_all(request, sent)
        lists = self._refresh_model_lists(sent) if request.changes else {}
        return [
            InstanceResult(
                instance,
                responses.get(instance.name, EngineResponse()),
                skipped[instance.name],
                lists.get(instance.name),
            )
            for instance in instances
        ]

    def _skip_reason(self, instance: EngineInstance, named: bool) -> str:
        entry = self._fleet.services.get(instance.name)
        if instance.static or entry is None or self._client is None:
            return ""
        here = is_loopback(urlsplit(self._client.urls[0]).hostname or "")
        return unreachable_reason(entry, here, socket.gethostname()) or skip_reason(instance, named)

    def _send_all(self, request: ManagementRequest, instances: Sequence[EngineInstance]) -> dict[str, EngineResponse]:
        return fan_out(
            request.timeout, {instance.name: self._engines.call(request, instance) for instance in instances}
        )

    def _refresh_model_lists(self, instances: Sequence[EngineInstance]) -> dict[str, RefreshedModels]:
        """Return the current model lists. First wait until the registry and the routers have those that changed."""
        lists = self._read_model_lists(instances)
        changed = {
            instance.name: lists[instance.name].models or ()
            for instance in instances
            if lists[instance.name].models is not None
            and set(lists[instance.name].models or ()) != set(instance.models)
        }
        notes = {
            instance.name: PLAIN_NOTE if instance.name in self._fleet.registered else STATIC_NOTE
            for instance in instances
            if instance.name in changed
            and (instance.name not in self._fleet.registered or instance.babysitter_url is None)
        }
        registered = {name: models for name, models in changed.items() if name not in notes}
        if registered and self._client is not None:
            missing = model_lists.await_registry(self._client, registered)
            time.sleep(model_lists.ROUTER_DELAY_SECONDS)
            lists.update({name: dataclasses.replace(lists[name], problem=reason) for name, reason in missing.items()})
        return lists | {name: dataclasses.replace(lists[name], problem=note) for name, note in notes.items()}

    def _read_model_lists(self, instances: Sequence[EngineInstance]) -> dict[str, RefreshedModels]:
        responses = fan_out(
            model_lists.REFRESH.timeout, {instance.name: self._model_list_call(instance) for instance in instances}
        )
        return {
            instance.name: model_lists.refreshed_models(responses[instance.name], instance.babysitter_url)
            for instance in instances
        }

    def _model_list_call(self, instance: EngineInstance) -> Callable[[], EngineResponse]:
        babysitter = instance.babysitter_url
        if babysitter is None:
            return self._engines.call(model_lists.LIST, instance)
        return lambda: send(model_lists.REFRESH, babysitter.rstrip("/"), {})
