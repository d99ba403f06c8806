"""The errors for requests whose model no instance can serve: it is unknown, or known and down. Pure."""

from collections.abc import Callable, Collection, Mapping
from itertools import islice

from svc.base.errors import NotFound, SvcError, Unavailable
from svc.base.similar_names import abbreviated_list, similar_names
from svc.router.balance.routing_table import WAKING_STATUSES, RoutingTable
from svc.router.balance.wakes import Wakes

MODEL_DOWN_RETRY_SECONDS = 5  # a stopped or restarted instance may be back after this time
MODEL_MEMORY_SECONDS = 600.0
MAX_REMEMBERED_MODELS = 10_000
MAX_MODELS_SHOWN = 8
MAX_FAILED_INSTANCES = 3  # limit for the instances whose failures one error shows
# With `unknown_model_status = auto`, an unknown model is a 404 here: Claude Code would repeat a 503 for minutes.
PATHS_ANSWERED_404 = (b"/v1/messages", b"/messages", b"/v1/responses", b"/responses")


class ModelDown(Unavailable):
    """Instances have the model, or may have it, but none of them can serve it now."""

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(MODEL_DOWN_RETRY_SECONDS)}


class UnknownModel(Unavailable):
    """No instance has the model. Because of `x-should-retry: false`, the official client libraries do not retry."""

    def __init__(self, model: str) -> None:
        super().__init__(no_services(model))
        self.model = model

    def headers(self) -> dict[str, str]:
        return {"x-should-retry": "false"}


class ModelNotFound(NotFound):
    """The 404 for a model that no instance has."""

    code = "model_not_found"

    def __init__(self, model: str, known: Collection[str]) -> None:
        similar, others = similar_names(model, known), abbreviated_list(known, MAX_MODELS_SHOWN)
        hint = f"did you mean {' or '.join(similar)}?" if similar else f"there are {others}"
        super().__init__(f"The model '{model}' does not exist; {hint}", param="model")


class DepartedModels:
    """The models that no instance lists any more; kept for a while, because their instances may be restarting."""

    def __init__(self) -> None:
        # Model -> monotonic seconds at which a table last listed it; the earliest entry first.
        self._departures: dict[str, float] = {}

    def replace_table(self, before: frozenset[str], after: frozenset[str], now: float) -> None:
        """Add the models that the old table listed (`before`) and the new table does not list (`after`)."""
        for model in before - after:
            self._departures.pop(model, None)
            self._departures[model] = now
        while self._departures and (
            len(self._departures) > MAX_REMEMBERED_MODELS
            or next(iter(self._departures.values())) <= now - MODEL_MEMORY_SECONDS
        ):
            del self._departures[next(iter(self._departures))]

    def contains(self, model: str, now: float) -> bool:
        departed_at = self._departures.get(model)
        return departed_at is not None and now - departed_at < MODEL_MEMORY_SECONDS


def no_services(model: str | None) -> str:
    return f"No healthy services available for model '{model}'" if model else "No healthy services available"


def unserved_error(
    model: str | None, table: RoutingTable, departed: DepartedModels, now: float, wakes: Wakes
) -> Unavailable:
    """Return the error for a request whose model has no candidate and no instance that is about to return."""
    if model is not None and model in table.asleep:
        return wakes.error(model, table.asleep[model])
    if model is None or model in table.models or departed.contains(model, now) or may_be_unlisted(table):
        reason = _failed_wakes(model, table) or wakes.reason(model)
        return ModelDown(f"{no_services(model)}: {reason}" if reason else no_services(model))
    return UnknownModel(model)


def _failed_wakes(model: str | None, table: RoutingTable) -> str:
    """Return why the on-demand instances of a model are not woken any more; empty if none has failed."""
    failed = (
        f"{target.name} has failed, and is not woken any more: {target.restart_reason or 'it did not start'}"
        for target in table.targets
        if target.is_on_demand and target.status == "failed" and model in target.models
    )
    return "; ".join(islice(failed, MAX_FAILED_INSTANCES))


def hidden_error(model: str, table: RoutingTable) -> Unavailable:
    """Return the error for a model of which the client must not know: the same as for a model that no instance has."""
    return ModelDown(no_services(model)) if may_be_unlisted(table) else UnknownModel(model)


def may_be_unlisted(table: RoutingTable) -> bool:
    """Return whether the table's instances may have models that they do not list yet.

    That is the case in three situations.

    1. The table has no models at all, because the site is starting.
    2. An instance is starting or asleep. It lists its models once it is ready.
    3. The router has not read the models of a static service yet.
    """
    return not table.models or any(
        not target.models and not target.drained and (target.status in WAKING_STATUSES or target.discovers_models)
        for target in table.targets
    )


def client_error(
    error: UnknownModel,
    setting: str,
    uri: bytes,
    table: RoutingTable,
    aliases: Mapping[str, str],
    allows: Callable[[str], bool] | None = None,
) -> SvcError:
    """Return the error for the client: the 503 unchanged, or a 404 that suggests similar names.

    `setting`: the value of `unknown_model_status`. `uri`: the URI of the request, whose path decides between 503 and
    404 if the setting is `auto`. `allows`: whether the client may use a model; None if it may use all.
    """
    if setting == "503" or (setting == "auto" and not uri.startswith(PATHS_ANSWERED_404)):
        return error
    served = {model for model, pool in table.by_model.items() if pool.members} | table.asleep.keys()
    known = served | {alias for alias, model in aliases.items() if model in served}
    return ModelNotFound(error.model, known if allows is None else set(filter(allows, known)))
