"""Explains the choice of an instance: what the balancer would choose for a request now, and why.

The choice itself is made by the policy, with the balancer's own arguments, except that it uses up no turn. The reasons
come from the functions that the policies use.
"""

import copy
from collections.abc import Callable, Iterator, Mapping

import msgspec

from svc.router.balance import prompt_size
from svc.router.balance.balancer import Balancer
from svc.router.balance.conversation import (
    FIRST_BLOCK_BYTES,
    affinity_hash,
    block_hashes,
    conversation_of,
    prefix_bytes,
)
from svc.router.balance.policies import (
    MAX_SESSION_LOAD_RATIO,
    POLICIES,
    PickContext,
    auto_hashes,
    rendezvous,
    without_crowded,
)
from svc.router.balance.pool import Member, Pool, digest
from svc.router.balance.prefix_map import PeekedPrefixes
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target
from svc.settings import RouterSettings

BYTES_PER_TOKEN = 4  # usual value for English text


class Candidate(msgspec.Struct, frozen=True):
    """An instance that has the model. `excluded`: why it cannot get the request; empty if it can."""

    name: str
    in_flight: int
    max_concurrency: int  # 0: unlimited
    weight: int
    cache_type: str
    work: int | None = None  # expected tokens of requests in flight; None while no policy uses loads
    excluded: str = ""


class InstanceChoice(msgspec.Struct, frozen=True):
    """The instance that a request would get, and why. Without an instance, the request would wait, or be refused."""

    policy: str
    candidates: tuple[Candidate, ...]
    why: tuple[str, ...]
    instance: str | None = None
    waits: bool = False


class PeekedTurns(Mapping[str, Iterator[int]]):
    """Copies of the counters of turns: taking the next turn of a copy does not use up that turn."""

    def __init__(self, turns: Mapping[str, Iterator[int]]) -> None:
        self._turns = turns

    def __getitem__(self, key: str) -> Iterator[int]:
        return copy.copy(self._turns[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._turns)

    def __len__(self) -> int:
        return len(self._turns)


def policy_name(settings: RouterSettings, model: str | None) -> str:
    return dict(settings.policies).get(model or "", settings.policy)


def explain(balancer: Balancer, settings: RouterSettings, request: RoutingRequest) -> InstanceChoice:
    """Return what `queued_requests.choose_or_wait` would choose for this request, and why. Change nothing."""
    name, pool = policy_name(settings, request.model), balancer.table.pool(request.model) or Pool()
    candidates = tuple(_candidate(balancer, target) for target in balancer.table.targets if _has_model(target, request))
    full = tuple(member.name for member in pool.members if balancer.is_full(member.target))
    if not pool.members:
        waits = balancer.wakes.may_wait(request.model, balancer.table)
        why = _without_members(balancer, request, bool(candidates), waits)
        return InstanceChoice(name, candidates, (why,), waits=waits)
    if balancer.queue.waiting and balancer.queue.must_wait(request.model):
        return InstanceChoice(name, candidates, ("it would wait behind other requests for the model",), waits=True)
    member, context = _pick(balancer, POLICIES[name], pool, request, full)
    if member is None:
        return InstanceChoice(name, candidates, ("all instances are full: it would wait for one",), waits=True)
    return InstanceChoice(name, candidates, tuple(REASONS[name](pool, request, context, member)), member.name)


def _without_members(balancer: Balancer, request: RoutingRequest, is_listed: bool, waits: bool) -> str:
    if waits:
        if request.model in balancer.table.asleep:
            return balancer.wakes.explanation(request.model, balancer.table.asleep[request.model])
        return "its instances are about to return: it would wait for one"
    return "no instance lists the model" if request.model and not is_listed else "no instance gets requests"


def _pick(
    balancer: Balancer,
    choose: Callable[[Pool, RoutingRequest, PickContext], Member | None],
    pool: Pool,
    request: RoutingRequest,
    full: tuple[str, ...],
) -> tuple[Member | None, PickContext]:
    """Return the member that the policy chooses, and the context with which it chooses.

    A single process excludes full instances before it asks the policy. With several processes, each asks the policy
    first, and asks again if the chosen instance turns out to be full.
    """
    context = _preview(balancer.context(full if balancer.full else ()))
    member = choose(pool, request, context)
    if member is not None and member.name in full:
        context = _preview(balancer.context(full))
        member = choose(pool, request, context)
    return member, context


def _preview(context: PickContext) -> PickContext:
    return msgspec.structs.replace(context, turns=PeekedTurns(context.turns), prefixes=PeekedPrefixes(context.prefixes))


def _has_model(target: Target, request: RoutingRequest) -> bool:
    return request.model is None or request.model in target.models


def _candidate(balancer: Balancer, target: Target) -> Candidate:
    load = balancer.loads.get(target.name, 0)
    work = round(balancer.work.of(target.name)) if balancer.work.is_tracked else None
    excluded = _exclusion(balancer, target)
    return Candidate(
        target.name, load, balancer.work.view.limit(target), target.weight, target.cache_type, work, excluded
    )


def _exclusion(balancer: Balancer, target: Target) -> str:
    """Return why an instance cannot get a request for its models now; empty if it can."""
    if target.drained:
        return "it is drained"
    if target.status != "running":
        return f"it is {target.status}"
    if target.name not in balancer.table.candidates and not _is_member(balancer, target):
        if not target.lease_valid:
            return "its lease has expired"
        return "it fails its health checks" if target.healthy is False else "it is ejected, or fails its health checks"
    limit = balancer.work.view.limit(target)
    return f"it is full: {limit} requests in flight" if balancer.is_full(target) else ""


def _is_member(balancer: Balancer, target: Target) -> bool:
    """Return whether a pool has the instance. If no instance of a model is usable, its pool has them all."""
    pools = (balancer.table.any_model, *(balancer.table.by_model.get(model, Pool()) for model in target.models))
    return any(member.name == target.name for pool in pools for member in pool.members)


# The reasons of each policy, from the pool, the request, the policy's arguments and the chosen member.


def _round_robin(pool: Pool, request: RoutingRequest, context: PickContext, chosen: Member) -> Iterator[str]:
    if context.excluded:
        yield "round robin: instances are excluded, so one of the others is drawn at random"
    else:
        yield f"round robin: it is the turn of {chosen.name}"


def _session(pool: Pool, request: RoutingRequest, context: PickContext, chosen: Member) -> Iterator[str]:
    if request.session:
        yield from _affinity("the session", digest(request.session), pool, context, chosen)
    else:
        yield "the request has no session"
        yield from _round_robin(pool, request, context, chosen)


def _affinity(key_name: str, key_hash: int, pool: Pool, context: PickContext, chosen: Member) -> Iterator[str]:
    """Yield the order in which a key prefers the instances, and which of them are skipped."""
    order = _preferences(pool, key_hash, context)
    yield f"{key_name} prefers the instances in the order {', '.join(order)}"
    for name in order[: order.index(chosen.name)]:
        load = context.loads.get(name, 0)
        yield f"{name} is skipped: it has {load} requests in flight, {MAX_SESSION_LOAD_RATIO:g} times its share or more"


def _preferences(pool: Pool, key_hash: int, context: PickContext) -> list[str]:
    """Return the names of the members in the order in which `rendezvous` chooses them while none has any load."""
    idle = msgspec.structs.replace(context, loads={})
    excluded = [member.name for member in pool.members if member.name in context.excluded]
    order: list[str] = []
    while True:
        member = rendezvous(pool, key_hash, msgspec.structs.replace(idle, excluded=(*excluded, *order)))
        if member is None:
            return order
        order.append(member.name)


def _prefix(pool: Pool, request: RoutingRequest, context: PickContext, chosen: Member) -> Iterator[str]:
    conversation = conversation_of(request)
    if not conversation:
        yield "the request has no messages, no prompt and no list of input items"
        yield from _round_robin(pool, request, context, chosen)
        return
    hashes = block_hashes(conversation, pool.seed)
    key = "its beginning", affinity_hash(conversation, hashes, pool.seed)
    yield from _by_prefix(pool, conversation.nbytes, hashes, key, context, chosen)


def _by_prefix(
    pool: Pool, size: int, hashes: list[int], key: tuple[str, int], context: PickContext, chosen: Member
) -> Iterator[str]:
    """Yield the reasons for a conversation of `size` bytes.

    `key`: the name and the hash of the key that decides if no member was sent a prefix of the conversation.
    """
    matches = [
        (blocks, names) for blocks, bits in context.prefixes.find(hashes) if (names := _names_with(pool, context, bits))
    ]
    if not matches:
        short = f"the conversation has {size} bytes: prefixes are known from {FIRST_BLOCK_BYTES} bytes on"
        yield "no instance was sent a prefix of this conversation" if hashes else short
        yield from _affinity(*key, pool, context, chosen)
        return
    yield f"the conversation has {_tokens(size)}"
    for blocks, names in matches:
        yield f"{', '.join(names)} {'were' if len(names) > 1 else 'was'} sent the first {_tokens(prefix_bytes(blocks))}"
        if chosen.name in names:
            return
        for name in names:
            yield f"{name} is skipped: its {context.loads.get(name, 0)} requests in flight are too far above its share"
    yield f"{chosen.name} is the least loaded of all instances"


def _names_with(pool: Pool, context: PickContext, bits: int) -> list[str]:
    """Return the names of the members whose bits are among `bits`, and that can get the request."""
    known, excluded = context.prefixes.bits, context.excluded
    return [m.name for m in pool.members if m.name not in excluded and known.get(m.name, 0) & bits]


def _tokens(size: int) -> str:
    return f"{size} bytes, about {round(size / BYTES_PER_TOKEN)} tokens"


def _auto(pool: Pool, request: RoutingRequest, context: PickContext, chosen: Member) -> Iterator[str]:
    crowded = [member.name for member in pool.members if member.name in context.work.view.crowded]
    if crowded and chosen.name not in crowded:
        context = without_crowded(pool, context)
        for name in crowded:
            yield f"{name} is left out: its KV cache is nearly full, or its queue is far longer than its peers'"
    if pool.by_cache_type:
        limit = context.cache_type_threshold
        large = prompt_size.exceeds(request.body, limit)
        cache_type = "static" if large else "paged"
        yield f"the text of the prompt has {'over' if large else 'at most'} {limit} bytes: cache type {cache_type}"
        suitable = pool.by_cache_type.get(cache_type, Pool())
        if any(member.name == chosen.name for member in suitable.members):
            pool = suitable
        else:
            yield f"no instance of cache type {cache_type} can take it: any instance"
    if hashes := auto_hashes(pool, request, context):
        key = "its beginning", hashes[0]
        yield from _by_prefix(pool, conversation_of(request).nbytes, hashes, key, context, chosen)
    elif request.session or not context.work.view.foreign:
        yield from _session(pool, request, context, chosen)
    else:
        yield "the request has no session"
        yield from _least_load(pool, request, context, chosen)


def _least_load(pool: Pool, request: RoutingRequest, context: PickContext, chosen: Member) -> Iterator[str]:
    tokens = context.work.of(chosen.name)
    yield f"{chosen.name} has the least expected work for its weight, {tokens:.0f} tokens; equal instances take turns"


def _least_requests(pool: Pool, request: RoutingRequest, context: PickContext, chosen: Member) -> Iterator[str]:
    yield f"{chosen.name} has the fewest requests in flight for its weight; equal instances take turns"


def _power_of_two(pool: Pool, request: RoutingRequest, context: PickContext, chosen: Member) -> Iterator[str]:
    yield f"{chosen.name} is the less loaded of two that were drawn at random; the next request may draw others"


def _random(pool: Pool, request: RoutingRequest, context: PickContext, chosen: Member) -> Iterator[str]:
    yield f"{chosen.name} was drawn at random; the next request may draw another one"


Reasons = Callable[[Pool, RoutingRequest, PickContext, Member], Iterator[str]]
REASONS: dict[str, Reasons] = {
    "auto": _auto,
    "round_robin": _round_robin,
    "least_requests": _least_requests,
    "least_load": _least_load,
    "power_of_two": _power_of_two,
    "session": _session,
    "prefix": _prefix,
    "random": _random,
}
