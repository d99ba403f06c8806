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
    is_of_responses_api,
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
# An instance that alone was sent a part of a conversation may have more requests: one for each 8 KB (2,000 tokens).
PREFIX_BYTES_PER_REQUEST = 8 << 10
MAX_PREFIX_REQUESTS = 4  # maximum number of additional requests for a long common part


class PickContext(msgspec.Struct):
    """The arguments of a policy besides the pool and the request."""

    loads: Mapping[str, int]  # instance -> requests in flight
    turns: Mapping[str, Iterator[int]]  # key of a pool -> its counter of turns
    draw: Callable[[], float]  # returns a random number in [0, 1)
    cache_type_threshold: int  # bytes of text; for a longer prompt, instances with a static cache are better
    excluded: Container[str] = ()  # names of instances that must not get the request
    # The prefixes of conversations that instances were sent. Choosing by prefix adds to it.
    prefixes: PrefixMap = msgspec.field(default_factory=lambda: PrefixMap(DEFAULT_PREFIX_MAP_BYTES))
    work: Work = msgspec.field(default_factory=Work)
    auto_prefix: bool = False  # whether `auto` sends conversations as `prefix` does


def round_robin(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the next member of the weighted cycle.

    If instances are excluded, as in a retry, return a random member instead, so that no turn is used up.
    """
    if context.excluded:
        return random(pool, request, context)
    return _at_turn(next(context.turns[pool.key]), pool, context)


def least_requests(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the member with the fewest requests in flight in proportion to its weight; equal members take turns."""
    members = _allowed(pool, context)
    return _least_loaded(members, pool, context) if members else None


def least_load(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the member with the least expected work (`work.py`) in proportion to its weight.

    Equal members take turns as in round robin. A member whose load is unknown counts as one with the mean load.
    """
    tokens, foreign, default = context.work.tokens, context.work.foreign_tokens, context.work.default_foreign_tokens
    least, equal = math.inf, list[Member]()
    for member in _allowed(pool, context) if context.excluded else pool.unexcluded:
        work = (tokens.get(member.name, 0) + foreign.get(member.name, default)) / (member.weight or 1)
        if work < least:
            least, equal = work, [member]
        elif work == least:
            equal.append(member)
    return _next_in_cycle(equal, pool, context) if len(equal) > 1 else next(iter(equal), None)


def _next_in_cycle(members: list[Member], pool: Pool, context: PickContext) -> Member:
    """Return the one of these members that has the next turn in the weighted cycle."""
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
    return _at_turn(int(context.draw() * len(pool.cycle)), pool, context)


def session(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the member that `rendezvous` selects for the request's session; use round robin without a session."""
    if not request.session:
        return round_robin(pool, request, context)
    return rendezvous(pool, digest(request.session), context)


def prefix(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the member that was sent the longest prefix of this conversation, which it probably has in its cache.

    If all members that were sent a prefix are overloaded, return the least loaded of all members. If none was sent one,
    return the member that `rendezvous` selects for the first block, so that conversations with the same first block
    meet at one instance. Use round robin without a prompt.
    """
    conversation = conversation_of(request)
    hashes = block_hashes(conversation, pool.seed)
    if not conversation:
        return round_robin(pool, request, context)
    return _by_prefix(pool, hashes, affinity_hash(conversation, hashes, pool.seed), context)


def _by_prefix(pool: Pool, hashes: list[int], key_hash: int, context: PickContext) -> Member | None:
    """Return the member for a conversation, by `key_hash` if none was sent a prefix of it. Record the choice."""
    matches = context.prefixes.find(hashes)
    member = _longest_match(pool, matches, context) if matches else None
    if member is None:
        member = rendezvous(pool, key_hash, context)
    if member is not None and hashes:
        context.prefixes.add(hashes, member.name)
    return member


def _longest_match(pool: Pool, matches: list[Match], context: PickContext) -> Member | None:
    """Return the member with the longest match among those that are not overloaded; None if no member has a match.

    Of several, return the least loaded. If all members with a match are overloaded, return the least loaded of all.
    """
    bits, loads = context.prefixes.bits, context.loads
    members, total = _allowed(pool, context), _total_load(pool, context)
    has_match = False
    for place, (blocks, instances) in enumerate(matches):
        matching = [member for member in members if bits.get(member.name, 0) & instances]
        if not matching:
            continue
        has_match = True
        next_longest = prefix_bytes(matches[place + 1][0]) if place + 1 < len(matches) else 0
        extra = min(MAX_PREFIX_REQUESTS, (prefix_bytes(blocks) - next_longest) / PREFIX_BYTES_PER_REQUEST)
        free = tuple([m for m in matching if loads.get(m.name, 0) < _load_limit(m, pool, total, extra)])
        if free:
            return _least_loaded(free, pool, context)
    return _least_loaded(members, pool, context) if has_match else None


def auto(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return a member whose cache type suits the prompt's size: by session, or in turn for a request without one.

    With `auto_prefix`, a conversation of at least one block goes where `prefix` would send it. If engines report their
    loads, other requests without a session go where `least_load` would send them, and crowded members get no request
    that another member can take.
    """
    if context.work.view.crowded:
        member = _by_cache_type(pool, request, without_crowded(pool, context))
        if member is not None:
            return member
    return _by_cache_type(pool, request, context)


def without_crowded(pool: Pool, context: PickContext) -> PickContext:
    """Return a context that also excludes the crowded members."""
    crowded, excluded = context.work.view.crowded, context.excluded
    names = tuple(member.name for member in pool.members if member.name in crowded or member.name in excluded)
    return msgspec.structs.replace(context, excluded=names)


def _by_cache_type(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return a member whose cache type suits the prompt's size, or else any member."""
    if pool.by_cache_type:
        large = prompt_size.exceeds(request.body, context.cache_type_threshold)
        suitable = pool.by_cache_type.get("static" if large else "paged")
        member = _by_affinity_or_load(suitable, request, context) if suitable else None
        if member is not None:
            return member
    return _by_affinity_or_load(pool, request, context)


def _by_affinity_or_load(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the member that `auto` chooses by prefix, by session, by load, or in turn."""
    if hashes := auto_hashes(pool, request, context):
        return _by_prefix(pool, hashes, hashes[0], context)
    choose = session if request.session or not context.work.view.foreign else least_load
    return choose(pool, request, context)


def auto_hashes(pool: Pool, request: RoutingRequest, context: PickContext) -> list[int]:
    """Return the hashes of the conversation by which `auto` chooses; empty if it does not choose by prefix.

    Requests of the Responses API go by their session, so that every router finds the instance with their objects.
    """
    if not context.auto_prefix or len(request.body) < FIRST_BLOCK_BYTES:
        return []
    if request.session and is_of_responses_api(request):
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
    """Return the requests in flight at all members, including the request for which a member is being chosen."""
    loads, total = context.loads, 1
    for member in pool.members:
        total += loads.get(member.name, 0)
    return total


def _at_turn(turn: int, pool: Pool, context: PickContext) -> Member | None:
    """Return the first member of the cycle, from this turn on, that is not excluded.

    If all members of the cycle are excluded, return a member of weight 0, or None if these are excluded too.
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


def _load_limit(member: Member, pool: Pool, total: int, extra: float = 0) -> float:
    """Return the number of requests in flight at which a member is overloaded, with `extra` requests added to it."""
    return MAX_SESSION_LOAD_RATIO * total * (member.weight or 1) / pool.weight + extra


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
