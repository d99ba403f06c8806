"""Which instances on demand of a model have to be awake: by its requests that wait, its rules, and what runs. Pure."""

from collections.abc import Collection, Iterable

import msgspec

from svc.config.awake_rules import ModelRule
from svc.protocol.service import ASLEEP
from svc.router.balance.routing_table import RoutingTable
from svc.router.balance.target import Target

MAX_CANDIDATES = 32  # maximum of a model's instances whose offers are requested: the first by name


class ModelInstances(msgspec.Struct, frozen=True):
    """The instances of a model: those on demand, by their state, and the number of others that get its requests."""

    awake: tuple[Target, ...] = ()
    starting: tuple[Target, ...] = ()
    asleep: tuple[Target, ...] = ()  # also those that are being put to sleep: they may wake again
    permanent: int = 0


class Need(msgspec.Struct, frozen=True):
    """What a model needs now."""

    more: int = 0  # number of sleeping instances to wake
    more_kept_awake: int = 0  # number of the instances in `more` that are then kept awake
    demanded: tuple[Target, ...] = ()  # awake or starting instances that get a demand because requests wait
    kept_awake: tuple[Target, ...] = ()  # awake or starting instances that are kept awake

    def __bool__(self) -> bool:
        return bool(self.more or self.demanded or self.kept_awake)


NO_NEED = Need()


def instances_on_demand(table: RoutingTable) -> dict[str, ModelInstances]:
    """Return the instances of each model that has an instance on demand. Drained ones are left out.

    Each model of each instance is visited only once, because strangers may register many of them.
    """
    by_model: dict[str, list[Target]] = {}
    models: set[str] = set()
    for target in table.targets:
        if not target.drained:
            for model in dict.fromkeys(target.models):
                by_model.setdefault(model, []).append(target)
            if target.is_on_demand:
                models.update(target.models)
    return {model: _instances(by_model[model], table.candidates) for model in sorted(models)}


def _instances(of_model: Iterable[Target], candidates: Collection[str]) -> ModelInstances:
    on_demand = [target for target in of_model if target.is_on_demand]
    return ModelInstances(
        tuple(target for target in on_demand if target.status == "running"),
        tuple(target for target in on_demand if target.status == "starting"),
        tuple(target for target in on_demand if target.status in (ASLEEP, "draining", "stopping"))[:MAX_CANDIDATES],
        sum(target.name in candidates for target in of_model if not target.is_on_demand),
    )


def need_of(instances: ModelInstances, waiting: int, oldest: float, unchanged: float, rule: ModelRule) -> Need:
    """Return what a model needs.

    `waiting`: the number of its requests that wait; `oldest`: the seconds that the oldest of them has waited;
    `unchanged`: the seconds since an instance of it woke last, because the requests that waited for that instance need
    a moment to be served.
    """
    awake = instances.permanent + len(instances.awake) + len(instances.starting)
    wanted = rule.awake_min
    if waiting and not awake:
        wanted = max(wanted, 1)
    elif waiting and not instances.starting and min(oldest, unchanged) >= rule.wake_after:
        wanted = max(wanted, awake + 1)
    more = max(0, min(wanted, max(rule.awake_max, rule.awake_min)) - awake)
    present = (*instances.awake, *instances.starting)
    kept_awake = present[: max(0, rule.awake_min - instances.permanent)]
    more_kept_awake = max(0, rule.awake_min - awake)
    return Need(min(more, len(instances.asleep)), more_kept_awake, present if waiting else (), kept_awake)
