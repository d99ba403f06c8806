"""The load balancing policies, which choose a member of a pool. Pure: loads, turns and random numbers are arguments.

Two routers with the same pool choose the same member for a session without communicating, because rendezvous hashing
(Thaler and Ravishankar, 1998) depends only on names and weights.
"""

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import reduce
from hashlib import blake2b

import msgspec

from svc.router.balance import prompt_size
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.target import Target

MASK_64_BITS = (1 << 64) - 1
MAX_SESSION_LOAD_RATIO = 1.25  # `rendezvous` skips instances with this many times their share of the load
PREFIX_BYTES = 1024
MAX_CYCLE_LENGTH = 10_000
CACHE_KEY_SEPARATOR = "\0"  # precedes the cache type in a pool's key


class Member(msgspec.Struct, frozen=True):
    """One candidate instance of a pool, with the properties that policies use."""

    name: str
    target: Target
    weight: int = 1
    cache_type: str = ""


class Pool(msgspec.Struct, frozen=True):
    """The candidates for one model, with values for the policies that are computed only once."""

    key: str = ""  # the key of the counter of turns; a pool in a later table continues with the same counter
    members: tuple[Member, ...] = ()
    cycle: tuple[int, ...] = ()  # indexes of members, each as often as its weight requires
    seeds: tuple[int, ...] = ()  # hashes of the members' names
    by_cache_type: dict[str, "Pool"] = {}  # the pool of each cache type that members have

    @staticmethod
    def of(members: Iterable[Member], key: str = "") -> "Pool":
        members = tuple(members)
        return Pool(
            key,
            members,
            cycle([member.weight for member in members]),
            tuple(digest(member.name.encode()) for member in members),
            {
                cache_type: Pool.of(_of_cache_type(members, cache_type), f"{key}{CACHE_KEY_SEPARATOR}{cache_type}")
                for cache_type in {member.cache_type for member in members if member.cache_type}
            },
        )


class PickContext(msgspec.Struct):
    """The arguments of a policy besides the pool and the request."""

    loads: Mapping[str, int]  # instance -> requests in flight
    turns: Mapping[str, Iterator[int]]  # key of a pool -> its counter of turns
    draw: Callable[[], float]  # returns a random number in [0, 1)
    cache_type_threshold: int  # bytes of text; for a longer prompt, instances with a static cache are better
    excluded: Container[str] = ()  # names of instances that must not get the request


def cycle(weights: list[int]) -> tuple[int, ...]:
    """Return an evenly spread order of indexes, in which index i occurs weights[i] / gcd times.

    An index of weight 0 does not occur, unless all weights are 0.
    The k-th turn (from 0) of an index that occurs w times is at the fraction (k + 1/2) / w of the cycle.
    """
    if not weights:
        return ()
    if not any(weights):
        weights = [1] * len(weights)
    divisor = reduce(math.gcd, weights)
    shares = [weight // divisor for weight in weights]
    if sum(shares) > MAX_CYCLE_LENGTH:
        factor = MAX_CYCLE_LENGTH / sum(shares)
        shares = [max(1, round(share * factor)) if share else 0 for share in shares]
    turns = sorted(((k + 0.5) / share, i) for i, share in enumerate(shares) for k in range(share))
    return tuple(i for _, i in turns)


def digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


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
    start = next(context.turns[pool.key]) % len(members)
    return min(members[start:] + members[:start], key=lambda member: _load(member, context))


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
    return rendezvous(pool, request.session, context) if request.session else round_robin(pool, request, context)


def prefix(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return the member that `rendezvous` selects for the beginning of the prompt: equal beginnings share a cache.

    Use round robin without a prompt.
    """
    start = prompt(request.body)[:PREFIX_BYTES]
    return rendezvous(pool, start, context) if start else round_robin(pool, request, context)


def auto(pool: Pool, request: RoutingRequest, context: PickContext) -> Member | None:
    """Return a member as `session` does, from those whose cache type suits the prompt's size.

    If no member with that cache type can take the request, choose from all members.
    """
    if pool.by_cache_type:
        large = prompt_size.exceeds(request.body, context.cache_type_threshold)
        suitable = pool.by_cache_type.get("static" if large else "paged")
        member = session(suitable, request, context) if suitable else None
        if member is not None:
            return member
    return session(pool, request, context)


def rendezvous(pool: Pool, key: bytes, context: PickContext) -> Member | None:
    """Return the member with the highest score for the key, among the members that are not overloaded.

    A member is overloaded if it has MAX_SESSION_LOAD_RATIO times its share of the load. If all members are overloaded,
    return the one with the highest score.
    """
    key_hash = digest(key)
    scores = {
        member.name: _score(key_hash, seed, member.weight or 1)
        for member, seed in zip(pool.members, pool.seeds, strict=True)
    }
    ranked = sorted(_allowed(pool, context), key=lambda member: scores[member.name], reverse=True)
    total = sum(context.loads.get(member.name, 0) for member in pool.members) + 1
    weights = sum(member.weight for member in pool.members) or len(pool.members)
    for member in ranked:
        limit = math.ceil(MAX_SESSION_LOAD_RATIO * total * (member.weight or 1) / weights)
        if context.loads.get(member.name, 0) < limit:
            return member
    return ranked[0] if ranked else None


def prompt(body: bytes) -> bytes:
    """Return the JSON of the messages or the prompt in the body, empty if there are none."""
    try:
        fields = _decode_prompt(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b""
    return bytes(fields.messages or fields.prompt or b"") if fields else b""


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


def _load(member: Member, context: PickContext) -> float:
    return context.loads.get(member.name, 0) / max(member.weight, 1)


def _allowed(pool: Pool, context: PickContext) -> list[Member]:
    """Return the members that are not excluded. Members of weight 0 are returned only if there are no others."""
    members = [member for member in pool.members if member.name not in context.excluded]
    return [member for member in members if member.weight] or members


def _of_cache_type(members: Iterable[Member], cache_type: str) -> Iterator[Member]:
    """Yield the members of a cache type. Their `cache_type` becomes empty, so that their pool is not divided again."""
    return (msgspec.structs.replace(member, cache_type="") for member in members if member.cache_type == cache_type)


class _Prompt(msgspec.Struct):
    messages: msgspec.Raw = msgspec.Raw(b"")
    prompt: msgspec.Raw = msgspec.Raw(b"")


_decode_prompt = msgspec.json.Decoder(_Prompt).decode

Policy = Callable[[Pool, RoutingRequest, PickContext], Member | None]
POLICIES: dict[str, Policy] = {
    "auto": auto,
    "round_robin": round_robin,
    "least_requests": least_requests,
    "power_of_two": power_of_two,
    "session": session,
    "prefix": prefix,
    "random": random,
}
