"""The load balancing policies, which choose a member of a pool. Pure: loads, turns and random numbers are arguments.

Two routers with the same pool choose the same member for a session without communicating, because rendezvous hashing
(Thaler and Ravishankar, 1998) depends only on names and weights.
"""

import math
from collections.abc import Callable, Container, Iterator, Mapping

import msgspec

from svc.router.balance import prompt_size
from svc.router.balance.conversation import (
    FIRST_BLOCK_BYTES,
    affinity_hash,
    block_hashes,
    conversation_of,
    is_response,
    prefix_bytes,
)
from svc.router.balance.pool import Member, Pool, digest
from svc.router.balance.prefix_map import Match, PrefixMap
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.work import Work
from svc.settings import RouterSettings

DEFAULT_PREFIX_MAP_BYTES = 1 << 20
MASK_64_BITS = (1 << 64) - 1
MAX_SESSION_LOAD_RATIO = 1.25  # `rendezvous` skips instances with this many times their share of the load
# For each of these bytes of a conversation that were sent to no other instance, an instance may have one request more
# than MAX_SESSION_LOAD_RATIO allows: 8 KB are about 2,000 tokens, which another instance would have to compute first.
PREFIX_BYTES_PER_REQUEST = 8 << 10
MAX_PREFIX_REQUESTS = 4


class PickContext(msgspec.Struct):
    """The arguments of a policy besides the pool and the request."""

    loads: Mapping[str, int]  # instance -> requests in flight
    turns: Mapping[str, Iterator[int]]  # key of a pool -> its counter of turns
    draw: Callable[[], float]  # returns a random number in [0, 1)
    cache_type_threshold: int  # bytes of text; for a longer prompt, instances with a static cache are better
    excluded: Container[str] = ()  # names of instances that must not get the request
    # The beginnings of conversations that instances were sent. `prefix` adds to it.
    prefixes: PrefixMap = msgspec.field(default_factory=lambda: PrefixMap(DEFAULT_PREFIX_MAP_BYTES))
    work: Work = msgspec.field(default_factory=Work)
    auto_prefix: bool = False  # whether `auto` sends conversations as `prefix` does


def round_robin(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the next member of the weighted cycle.

    If instances are excluded, as in a retry, return a random member instead, so that no turn is used up.
    """
    if context.excluded:
        return random(pool, request, context)
    return _from(next(context.turns[pool.key]), pool, context)


def least_requests(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the member with the fewest requests in flight in proportion to its weight; equal members take turns."""
    members = _allowed(pool, context)
    if not members:
        return None
    return _least_loaded(members, pool, context)


def least_load(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the member with the least expected work (`work.py`) in proportion to its weight.

    Equal members take turns as in round robin. A member whose load is unknown counts as one with the mean load of the
    others.
    """
    tokens, foreign, default = context.work.tokens, context.work.foreign, context.work.default_foreign
    least, equal = math.inf, list[Member]()
    for member in _allowed(pool, context) if context.excluded else pool.unexcluded:
        work = (tokens.get(member.name, 0) + foreign.get(member.name, default)) / (member.weight or 1)
        if work < least:
            least, equal = work, [member]
        elif work == least:
            equal.append(member)
    return _next_of(equal, pool, context) if len(equal) > 1 else next(iter(equal), None)


def _next_of(members: list[Member], pool: Pool, context: PickContext) -> Member:
    """Return the one of these members that is next in the weighted cycle."""
    turn, length = next(context.turns[pool.key]), len(pool.cycle)
    if len(members) == len(pool.members) and length:
        return pool.members[pool.cycle[turn % length]]
    names = {member.name for member in members}
    ordered = (pool.members[pool.cycle[(turn + step) % length]] for step in range(length))
    return next((member for member in ordered if member.name in names), members[0])


def power_of_two(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the less loaded of two members drawn at random (Mitzenmacher, 2001)."""
    members = _allowed(pool, context)
    if len(members) < 2:
        return members[0] if members else None
    first = int(context.draw() * len(members))
    second = (first + 1 + int(context.draw() * (len(members) - 1))) % len(members)
    return min(members[first], members[second], key=lambda member: _load(member, context))


def random(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return a random member; the probability of each is in proportion to its weight."""
    return _from(int(context.draw() * len(pool.cycle)), pool, context)


def session(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the member that `rendezvous` selects for the request's session; use round robin without a session."""
    if not request.session:
        return round_robin(pool, request, context)
    return rendezvous(pool, digest(request.session), context)


def prefix(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the member that was sent the longest beginning of this conversation, which it probably has in its cache.

    If all members that were sent a beginning are overloaded, return the least loaded of all members. If none was sent
    any, return the one that `rendezvous` selects for the first block: equal beginnings meet at one instance. Use round
    robin without a prompt.
    """
    conversation = conversation_of(request)
    hashes = block_hashes(conversation, pool.seed)
    if not conversation:
        return round_robin(pool, request, context)
    return _by_prefix(pool, hashes, affinity_hash(conversation, hashes, pool.seed), context)


def _by_prefix(pool: Pool, hashes: list[int], key_hash: int, context: PickContext) -> Member | None:
    """Return the member for a conversation of these blocks, by `key_hash` if no member knows it. Record the choice."""
    matches = context.prefixes.find(hashes)
    member = _longest_match(pool, matches, context) if matches else None
    if member is None:
        member = rendezvous(pool, key_hash, context)
    if member is not None and hashes:
        context.prefixes.add(hashes, member.name)
    return member


def _longest_match(pool: Pool, matches: list[Match], context: PickContext) -> Member | None:
    """Return the least loaded of the members with the longest match that are not overloaded; None if none has a match.

    If all members with a match are overloaded, return the least loaded of all members.
    """
    bits, loads = context.prefixes.bits, context.loads
    members, total = _allowed(pool, context), _total_load(pool, context)
    is_known = False
    for place, (blocks, instances) in enumerate(matches):
        matching = [member for member in members if bits.get(member.name, 0) & instances]
        if not matching:
            continue
        is_known = True
        others = prefix_bytes(matches[place + 1][0]) if place + 1 < len(matches) else 0
        more = min(MAX_PREFIX_REQUESTS, (prefix_bytes(blocks) - others) / PREFIX_BYTES_PER_REQUEST)
        free = tuple(m for m in matching if loads.get(m.name, 0) < _load_limit(m, pool, total, more))
        if free:
            return _least_loaded(free, pool, context)
    return _least_loaded(members, pool, context) if is_known else None


def auto(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the session's member, or the next in turn, of those whose cache type suits the prompt's size.

    With `auto_prefix`, a conversation of at least one block goes as `prefix` sends it. If engines report their load,
    other requests without a session go by it, and crowded members get no request while others can take it.
    """
    if context.work.view.crowded:
        member = _auto(pool, request, without_crowded(pool, context))
        if member is not None:
            return member
    return _auto(pool, request, context)


def without_crowded(pool: Pool, context: PickContext) -> PickContext:
    """Return a context that also excludes the crowded members."""
    crowded, excluded = context.work.view.crowded, context.excluded
    names = tuple(member.name for member in pool.members if member.name in crowded or member.name in excluded)
    return msgspec.structs.replace(context, excluded=names)


def _auto(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    if pool.by_cache_type:
        large = prompt_size.exceeds(request.body, context.cache_type_threshold)
        suitable = pool.by_cache_type.get("static" if large else "paged")
        member = _by_cache(suitable, request, context) if suitable else None
        if member is not None:
            return member
    return _by_cache(pool, request, context)


def _by_cache(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the member for a request of `auto`, from members of one cache type."""
    if hashes := auto_hashes(pool, request, context):
        return _by_prefix(pool, hashes, hashes[0], context)
    choose = session if request.session or not context.work.view.others else least_load
    return choose(pool, request, context)


def auto_hashes(pool: Pool, request: RoutingRequest, context: PickContext) -> list[int]:
    """Return the hashes of the conversation by which `auto` chooses; empty if it does not choose by prefix.

    Not if a request of the Responses API has a session: by it, every router finds the objects that instances keep.
    """
    if not context.auto_prefix or len(request.body) < FIRST_BLOCK_BYTES or (request.session and is_response(request)):
        return []
    return block_hashes(conversation_of(request), pool.seed)


def rendezvous(pool: Pool, key_hash: int, context: PickContext) -> Member | None:
    """Return the member with the highest score for a key, among the members that are not overloaded.

    A member is overloaded if it has MAX_SESSION_LOAD_RATIO times its share of the load. If all members are overloaded,
    return the one with the highest score.
    """
    scores = {
        member.name: _score(key_hash, seed, member.weight or 1)
        for member, seed in zip(pool.members, pool.seeds, strict=True)
    }
    ranked = sorted(_allowed(pool, context), key=lambda member: scores[member.name], reverse=True)
    total = _total_load(pool, context)
    for member in ranked:
        if context.loads.get(member.name, 0) < _load_limit(member, pool, total):
            return member
    return ranked[0] if ranked else None


def _total_load(pool: Pool, context: PickContext) -> int:
    """Return the requests in flight at all members, with the one for which a member is chosen."""
    loads, total = context.loads, 1
    for member in pool.members:
        total += loads.get(member.name, 0)
    return total


def _from(turn: int, pool: Pool, context: PickContext) -> Member | None:
    """Return the first member of the cycle, from this turn on, that is not excluded.

    If the cycle has none, return a member of weight 0, or None if these are excluded too.
    """
    length = len(pool.cycle)
    for step in range(length):
        member = pool.members[pool.cycle[(turn + step) % length]]
        if member.name not in context.excluded:
            return member
    return next(iter(_allowed(pool, context)), None)


def _score(key: int, seed: int, weight: int) -> float:
    """Return the weighted score of rendezvous hashing."""
    mixed = key ^ seed
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 & MASK_64_BITS  # the finalizer of splitmix64
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & MASK_64_BITS
    mixed = (mixed ^ (mixed >> 31)) >> 11  # 53 bits, which a float holds exactly: so the quotient stays below 1
    return -weight / math.log((mixed + 1) / ((1 << 53) + 1))


def _load_limit(member: Member, pool: Pool, total: int, more: float = 0) -> int:
    """Return how many requests in flight are too many for one more. `more`: requests that exceed the member's share."""
    return math.ceil(MAX_SESSION_LOAD_RATIO * total * (member.weight or 1) / pool.weight + more)


def _least_loaded(members: tuple[Member, ...], pool: Pool, context: PickContext) -> Member:
    """Return the member with the fewest requests in flight in proportion to its weight; equal members take turns."""
    if len(members) == 1:
        return members[0]
    start = next(context.turns[pool.key]) % len(members)
    return min(members[start:] + members[:start], key=lambda member: _load(member, context))


def _load(member: Member, context: PickContext) -> float:
    return context.loads.get(member.name, 0) / max(member.weight, 1)


def _allowed(pool: Pool, context: PickContext) -> tuple[Member, ...]:
    """Return the members that are not excluded. Members of weight 0 are returned only if there are no others."""
    if not context.excluded:
        return pool.unexcluded
    members = tuple(member for member in pool.members if member.name not in context.excluded)
    return tuple(member for member in members if member.weight) or members


Policy = Callable[[Pool, RoutingRequest, PickContext], Member | None]
POLICIES: dict[str, Policy] = {
    "auto": auto,
    "round_robin": round_robin,
    "least_requests": least_requests,
    "least_load": least_load,
    "power_of_two": power_of_two,
    "session": session,
    "prefix": prefix,
    "random": random,
}


def uses_policy(settings: RouterSettings, *names: str) -> bool:
    """Return whether the router uses one of these policies, for all models or for some."""
    return any(policy in names for policy in (settings.policy, *(policy for _, policy in settings.policies)))
