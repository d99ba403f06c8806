"""The routing table: the instances that the router knows, as one immutable snapshot. Pure."""

from collections.abc import Callable, Container, Iterable

import msgspec

from svc.protocol.service import ASLEEP, RETURNING_STATUSES
from svc.router.balance.pool import Member, Pool
from svc.router.balance.prefix_map import PrefixMap
from svc.router.balance.target import Target, with_lost_memory

WAKING_STATUSES = (ASLEEP, *RETURNING_STATUSES)  # statuses of an on-demand instance that a request may wait for


class Origin(msgspec.Struct, frozen=True):
    """Where a table came from, and when it was last confirmed."""

    source: str  # registry | saved | static
    confirmed_at: float | None = None  # monotonic seconds; when a registry last reported the table as current
    registry: str = ""
    index: int | None = None  # the revision of the list at this registry


class RoutingTable(msgspec.Struct, frozen=True):
    """Every known instance, and the pool of candidates for each model."""

    targets: tuple[Target, ...] = ()
    candidates: frozenset[str] = frozenset()  # names of the healthy instances that are not drained
    any_model: Pool = Pool()  # the candidates for a request that contains no model
    by_model: dict[str, Pool] = {}
    returning: frozenset[str] = frozenset()  # models without a candidate that have an instance about to return
    models: frozenset[str] = frozenset()  # the models of all instances, including those that may not get requests
    groups: dict[str, str] = {}  # model -> the first name among the models that share instances with it
    handovers: frozenset[str] = frozenset()  # names of the instances whose streams are moved to others
    # Models without a candidate that have an on-demand instance -> seconds that a request may wait until one is awake.
    asleep: dict[str, float] = {}

    def pool(self, model: str | None) -> Pool | None:
        """Return the pool of candidates for a model (None: any model); None or an empty pool if there are none."""
        return self.any_model if model is None else self.by_model.get(model)

    def serves(self, model: str | None) -> bool:
        """Return whether a request for this model has a candidate."""
        pool = self.pool(model)
        return pool is not None and bool(pool.members)

    def can_serve(self, model: str) -> bool:
        """Return whether a request for this model has a candidate, or may wait until an instance returns or wakes."""
        return self.serves(model) or self.may_wait(model)

    def may_wait(self, model: str | None) -> bool:
        """Return whether a model without a candidate has an instance that is about to return, or that can be woken."""
        return model in self.returning or model in self.asleep

    def unchanged_names(self, failed: tuple[Target, ...]) -> tuple[str, ...]:
        """Return the names of the failed instances whose entry in the table has not changed since the failure."""
        return tuple(target.name for target in failed if target in self.targets)

    def has_other_members(self, model: str | None, names: Container[str]) -> bool:
        """Return whether a request for this model has candidates, busy or not, other than the instances in `names`."""
        pool = self.pool(model)
        return pool is not None and any(member.name not in names for member in pool.members)


def build(targets: Iterable[Target], is_usable: Callable[[Target], bool]) -> RoutingTable:
    """Return a table of the targets, in which targets that are not usable get no requests.

    If a model has only unusable instances, they get requests all the same: when all instances look broken, the checks
    may be broken (Envoy's panic threshold).
    """
    ordered = tuple(sorted(targets, key=lambda target: target.name))
    admitted = [target for target in ordered if target.accepts_requests()]
    usable = frozenset(target.name for target in admitted if is_usable(target))
    members = {target.name: Member(target.name, target, target.weight, target.cache_type) for target in admitted}
    by_model: dict[str, list[Member]] = {}
    for target in admitted:
        for model in target.models:
            by_model.setdefault(model, []).append(members[target.name])
    returning = {
        model
        for target in ordered
        if target.status in RETURNING_STATUSES and not target.drained
        for model in target.models
    }
    asleep: dict[str, float] = {}
    for target in ordered:
        if target.is_on_demand and target.status in WAKING_STATUSES and not target.drained:
            for model in target.models:
                asleep[model] = max(target.wake_timeout, asleep.get(model, 0.0))
    return RoutingTable(
        ordered,
        usable,
        Pool.of(_usable_or_all(list(members.values()), usable)),
        {model: Pool.of(_usable_or_all(listed, usable), model) for model, listed in by_model.items()},
        frozenset(returning - set(by_model)),
        frozenset(model for target in ordered for model in target.models),
        groups_of(ordered),
        frozenset(target.name for target in ordered if target.handover),
        {model: seconds for model, seconds in asleep.items() if model not in by_model},
    )


def groups_of(targets: Iterable[Target]) -> dict[str, str]:
    """Return the group of each model: models of one group share instances, directly or through other models."""
    groups: dict[str, str] = {}

    def root(model: str) -> str:
        while (parent := groups.setdefault(model, model)) != model:
            groups[model] = model = groups[parent]
        return model

    for target in targets:
        for model in target.models:
            first, second = sorted((root(model), root(target.models[0])))
            groups[second] = first
    groups = {model: root(model) for model in groups}
    if len(set(groups.values())) == 1:
        groups[""] = min(groups)  # requests that contain no model use the same instances
    return groups


def forget_lost_caches(prefixes: PrefixMap, before: Iterable[Target], after: Iterable[Target]) -> None:
    """Drop the prefixes of the instances that have lost their caches, because they have left, restarted or moved."""
    if prefixes.bits:
        for name in with_lost_memory(before, after):
            prefixes.forget(name)


def _usable_or_all(members: list[Member], usable: frozenset[str]) -> list[Member]:
    return [member for member in members if member.name in usable] or members
