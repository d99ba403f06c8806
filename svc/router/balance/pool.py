"""The pools of candidates that policies choose from. Pure."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from hashlib import blake2b

import msgspec

from svc.router.balance.target import Target

MAX_CYCLE_LENGTH = 10_000
RESERVED_SHARE = 8  # one of this many places at an instance is left to requests of priority 0 and higher
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
    seed: int = 0  # a hash of the key, so that the same conversation with another model has other hashes
    seeds: tuple[int, ...] = ()  # hashes of the members' names
    weight: int = 1  # sum of the weights of all members
    unexcluded: tuple[Member, ...] = ()  # the choice if none is excluded: members with a weight above 0, or else all
    by_cache_type: dict[str, "Pool"] = {}  # the pool of each cache type that members have

    @staticmethod
    def of(members: Iterable[Member], key: str = "") -> "Pool":
        members = tuple(members)
        return Pool(
            key,
            members,
            cycle([member.weight for member in members]),
            digest(key.encode()),
            tuple(digest(member.name.encode()) for member in members),
            sum(member.weight for member in members) or len(members),
            tuple(member for member in members if member.weight) or members,
            {
                cache_type: Pool.of(_of_cache_type(members, cache_type), f"{key}{CACHE_KEY_SEPARATOR}{cache_type}")
                for cache_type in {member.cache_type for member in members if member.cache_type}
            },
        )


def reserved(pool: Pool, loads: Mapping[str, int], limit_of: Callable[[Target], int]) -> list[str]:
    """Return the names of the members whose free places are left to requests of priority 0 and higher.

    At least one place is left, unless the member has only one. So a request of priority 0 need not wait until one of a
    lower priority ends, and requests of lower priority still keep the engine busy when there are no others.
    """
    limits = ((member.name, limit_of(member.target)) for member in pool.members)
    return [
        name for name, limit in limits if limit > 1 and loads.get(name, 0) >= limit - max(1, limit // RESERVED_SHARE)
    ]


def cycle(weights: list[int]) -> tuple[int, ...]:
    """Return an evenly spread order of indexes, in which index i occurs weights[i] / gcd(weights) times.

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


def _of_cache_type(members: Iterable[Member], cache_type: str) -> Iterator[Member]:
    """Yield the members of a cache type. Their `cache_type` becomes empty, so that their pool is not divided again."""
    return (msgspec.structs.replace(member, cache_type="") for member in members if member.cache_type == cache_type)
