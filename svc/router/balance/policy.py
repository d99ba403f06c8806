"""Which instance a request goes to: pure functions over a pool, its loads, a turn and a random number.

Two routers with the same pool agree on sessions without talking: rendezvous
hashing (Thaler and Ravishankar, 1998) depends on names and weights alone.
"""

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import reduce
from hashlib import blake2b
from typing import Any

import msgspec

from svc.router.balance.routing_request import RoutingRequest

MASK = (1 << 64) - 1
SHARE = 1.25  # times its share of the load, before a session spills to the next
PREFIX_BYTES = 1024
LONGEST_CYCLE = 10_000
PART = "\0"  # stands in a pool's key before the cache type


class Member(msgspec.Struct, frozen=True):
    name: str
    weight: int = 1
    cache_type: str = ""
    target: Any = None


class Pool(msgspec.Struct, frozen=True):
    """The candidates for one model, with what their policies need worked out once."""

    key: str = ""  # the same as long as the router lives: turns are counted under it
    members: tuple[Member, ...] = ()
    cycle: tuple[int, ...] = ()  # indexes of members, each as often as its weight says
    seeds: tuple[int, ...] = ()
    by_cache: dict[str, "Pool"] = {}  # where members say a cache type: those of each

    @staticmethod
    def of(members: Iterable[Member], key: str = "") -> "Pool":
        found = tuple(members)
        types = {m.cache_type for m in found if m.cache_type}
        return Pool(
            key,
            found,
            cycle([m.weight for m in found]),
            tuple(digest(m.name.encode()) for m in found),
            {t: Pool.of((_plain(m) for m in found if m.cache_type == t), f"{key}{PART}{t}") for t in types},
        )


class PickContext(msgspec.Struct):
    """What is not in the pool.

    The requests in flight by name, whose turn it is by the pool's key, a draw in [0, 1), the bytes of prompt from
    which static caches are better, and who was tried before.
    """

    loads: Mapping[str, int]
    turns: Mapping[str, Iterator[int]]
    draw: Callable[[], float]
    threshold: int
    tried: Container[str] = ()


def cycle(weights: list[int]) -> tuple[int, ...]:
    """A smooth order in which index i stands exactly weights[i] / gcd times; nobody with weight 0 unless all have.

    The k-th turn of an index with weight w falls at (k + 1/2) / w of the cycle.
    """
    if not weights:
        return ()
    if not any(weights):
        weights = [1] * len(weights)
    divisor = reduce(math.gcd, weights)
    shares = [w // divisor for w in weights]
    if sum(shares) > LONGEST_CYCLE:
        factor = LONGEST_CYCLE / sum(shares)
        shares = [max(1, round(s * factor)) if s else 0 for s in shares]
    turns = sorted(((k + 0.5) / share, i) for i, share in enumerate(shares) for k in range(share))
    return tuple(i for _, i in turns)


def digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def round_robin(pool: Pool, ask: RoutingRequest, moment: PickContext) -> Member | None:
    """Smooth and weighted: the next of the cycle. A second try takes nobody's turn: chance decides."""
    return random(pool, ask, moment) if moment.tried else _from(next(moment.turns[pool.key]), pool, moment)


def least_requests(pool: Pool, ask: RoutingRequest, moment: PickContext) -> Member | None:
    """The fewest requests in flight for its weight; among equals the one whose turn it is."""
    free = _untried(pool, moment)
    if not free:
        return None
    start = next(moment.turns[pool.key]) % len(free)
    return min(free[start:] + free[:start], key=lambda m: _load(m, moment))


def power_of_two(pool: Pool, ask: RoutingRequest, moment: PickContext) -> Member | None:
    """The less loaded of two drawn at random (Mitzenmacher, 2001)."""
    free = _untried(pool, moment)
    if len(free) < 2:
        return free[0] if free else None
    first = int(moment.draw() * len(free))
    second = (first + 1 + int(moment.draw() * (len(free) - 1))) % len(free)
    return min(free[first], free[second], key=lambda m: _load(m, moment))


def random(pool: Pool, ask: RoutingRequest, moment: PickContext) -> Member | None:
    """Each as likely as its weight says."""
    return _from(int(moment.draw() * len(pool.cycle)), pool, moment)


def session(pool: Pool, ask: RoutingRequest, moment: PickContext) -> Member | None:
    """The session's own instance, or the next in its own order; without a session, round robin."""
    return rendezvous(pool, ask.session, moment) if ask.session else round_robin(pool, ask, moment)


def prefix(pool: Pool, ask: RoutingRequest, moment: PickContext) -> Member | None:
    """As session, keyed by how the messages or the prompt begin, so that shared beginnings meet their cache."""
    start = prompt(ask.body)[:PREFIX_BYTES]
    return rendezvous(pool, start, moment) if start else round_robin(pool, ask, moment)


def auto(pool: Pool, ask: RoutingRequest, moment: PickContext) -> Member | None:
    """1. the cache type that suits the prompt's size, where any instance says one; 2. the session; 3. round robin."""
    if pool.by_cache:  # 1
        suited = pool.by_cache.get("static" if len(prompt(ask.body)) > moment.threshold else "paged")
        found = session(suited, ask, moment) if suited else None
        if found is not None:
            return found
    return session(pool, ask, moment)  # 2, 3


def rendezvous(pool: Pool, key: bytes, moment: PickContext) -> Member | None:
    """The highest score takes it, unless it has more than SHARE times its share of the requests in flight."""
    key_hash = digest(key)
    scores = {m.name: _score(key_hash, seed, m.weight or 1) for m, seed in zip(pool.members, pool.seeds, strict=True)}
    untried = sorted(_untried(pool, moment), key=lambda m: scores[m.name], reverse=True)
    total = sum(moment.loads.get(m.name, 0) for m in pool.members) + 1
    weights = sum(m.weight for m in pool.members) or len(pool.members)
    for member in untried:
        if moment.loads.get(member.name, 0) < math.ceil(SHARE * total * (member.weight or 1) / weights):
            return member
    return untried[0] if untried else None


def prompt(body: bytes) -> bytes:
    """The messages or the prompt as they stand in the body; nothing when there are none."""
    try:
        fields = _decode_prompt(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b""
    return bytes(fields.messages or fields.prompt or b"") if fields else b""


def _from(turn: int, pool: Pool, moment: PickContext) -> Member | None:
    length = len(pool.cycle)
    for step in range(length):
        member = pool.members[pool.cycle[(turn + step) % length]]
        if member.name not in moment.tried:
            return member
    return next(iter(_untried(pool, moment)), None)


def _score(key: int, seed: int, weight: int) -> float:
    """The weighted score of rendezvous hashing."""
    mixed = key ^ seed
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 & MASK  # splitmix64's finish
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & MASK
    mixed = (mixed ^ (mixed >> 31)) >> 11  # 53 bits: what a float holds exactly, so that it stays below 1
    return -weight / math.log((mixed + 1) / ((1 << 53) + 1))


def _load(member: Member, moment: PickContext) -> float:
    return moment.loads.get(member.name, 0) / max(member.weight, 1)


def _untried(pool: Pool, moment: PickContext) -> list[Member]:
    """Those left; of weight 0 only when nobody else is."""
    left = [m for m in pool.members if m.name not in moment.tried]
    return [m for m in left if m.weight] or left


def _plain(member: Member) -> Member:
    return msgspec.structs.replace(member, cache_type="")


class _Prompt(msgspec.Struct):
    messages: msgspec.Raw = msgspec.Raw(b"")
    prompt: msgspec.Raw = msgspec.Raw(b"")


_decode_prompt = msgspec.json.Decoder(_Prompt).decode

Policy = Callable[[Pool, RoutingRequest, PickContext], "Member | None"]
POLICIES: dict[str, Policy] = {
    "auto": auto,
    "round_robin": round_robin,
    "least_requests": least_requests,
    "power_of_two": power_of_two,
    "session": session,
    "prefix": prefix,
    "random": random,
}
