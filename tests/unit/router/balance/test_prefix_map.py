import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from svc.router.balance.prefix_map import MAX_RETIRED_BITS, PrefixMap

instances = st.sampled_from("abcdef")


def chain(*names: int) -> list[int]:
    """Hashes of a conversation that share as many blocks with another as both have equal first names."""
    return [hash(names[: length + 1]) & (1 << 64) - 1 for length in range(len(names))]


conversations = st.lists(st.integers(0, 2), max_size=6).map(lambda names: chain(*names))


def matched(prefixes: PrefixMap, hashes: Sequence[int]) -> dict[str, int]:
    """Each instance with the length of its match."""
    return {name: length for length, bits in prefixes.find(hashes) for name, bit in prefixes.bits.items() if bit & bits}


def test_each_instance_has_its_longest_match_and_the_longest_comes_first():
    prefixes = PrefixMap(1 << 20)
    prefixes.add(chain(1, 2, 3, 4), "a")
    prefixes.add(chain(1, 2, 5), "b")
    prefixes.add(chain(1, 2, 3, 4, 5), "c")
    prefixes.add(chain(9), "d")
    assert [length for length, _ in prefixes.find(chain(1, 2, 3, 4, 5, 6))] == [5, 4, 2]
    assert matched(prefixes, chain(1, 2, 3, 4, 5, 6)) == {"c": 5, "a": 4, "b": 2}
    assert matched(prefixes, chain(1, 2, 5)) == {"b": 3, "a": 2, "c": 2}
    assert prefixes.find(chain(7, 2, 3)) == prefixes.find([]) == []


class Model(RuleBasedStateMachine):
    """The map, while it is large enough, knows exactly what was added for the instances that are present."""

    def __init__(self) -> None:
        super().__init__()
        self.prefixes = PrefixMap(1 << 20)
        self.sent: dict[str, set[int]] = {}

    @rule(hashes=conversations, instance=instances)
    def add(self, hashes: list[int], instance: str) -> None:
        self.prefixes.add(hashes, instance)
        self.sent.setdefault(instance, set()).update(hashes)

    @rule(instance=instances)
    def forget(self, instance: str) -> None:
        self.prefixes.forget(instance)
        self.sent.pop(instance, None)

    @rule(hashes=conversations)
    def find(self, hashes: list[int]) -> None:
        lengths = {
            name: next((n for n, key in enumerate(hashes) if key not in sent), len(hashes))
            for name, sent in self.sent.items()
        }
        assert matched(self.prefixes, hashes) == {name: length for name, length in lengths.items() if length}

    @rule(hashes=conversations)
    def find_twice(self, hashes: list[int]) -> None:
        assert self.prefixes.find(hashes) == self.prefixes.find(hashes)

    @invariant()
    def instances_are_those_present(self) -> None:
        assert self.prefixes.bits.keys() == self.sent.keys()


TestModel = Model.TestCase


def test_when_instances_leave_only_their_entries_go_however_many_leave():
    prefixes = PrefixMap(1 << 20)
    prefixes.add(chain(1, 2, 3), "stays")
    for number in range(5 * MAX_RETIRED_BITS):
        prefixes.add(chain(1, 2, number), f"i{number}")
        assert matched(prefixes, chain(1, 2, number))[f"i{number}"] == 3
        prefixes.forget(f"i{number}")
        assert matched(prefixes, chain(1, 2, number)) == {"stays": 3 if number == 3 else 2}
    assert max(bit.bit_length() for bit in prefixes.bits.values()) <= MAX_RETIRED_BITS + 2
    prefixes.add(chain(5), "i0")  # it has restarted, and knows nothing of before
    assert matched(prefixes, chain(1, 2, 0)) == {"stays": 2}


def memory(prefixes: PrefixMap) -> int:
    generations = (prefixes._young, prefixes._old)  # noqa: SLF001
    objects = [sys.getsizeof(generation) for generation in generations]
    for generation in generations:
        objects += [sys.getsizeof(key) + 15 & ~15 for key in generation]  # the allocator's units
        objects += [sys.getsizeof(bits) + 15 & ~15 for bits in generation.values() if bits > 256]
    return sum(objects)


@pytest.mark.parametrize("count", [1, 50, 1000])
@pytest.mark.parametrize("bound", [1 << 20, 3 << 20])
def test_the_map_never_exceeds_its_memory(bound: int, count: int):
    prefixes, largest = PrefixMap(bound), 0
    for number in range(bound // 1000):
        hashes = [(number * 50 + n) * 0x9E3779B97F4A7C15 & (1 << 64) - 1 for n in range(40)]
        prefixes.add(hashes, f"i{number % count}")
        if number % 97 == 0:
            largest = max(largest, memory(prefixes))
        if number % 500 == 0:
            prefixes.forget(f"i{number // 500 % count}")
    assert bound / 4 < largest <= bound


@given(st.lists(st.tuples(st.lists(st.integers(0, 99), max_size=30), instances)))
def test_a_tiny_map_keeps_its_bound_too(additions: list[tuple[list[int], str]]):
    prefixes = PrefixMap(3000)
    for names, instance in additions:
        prefixes.add(chain(*names), instance)
        assert len(prefixes) <= 3000 // 140


def test_what_is_used_stays_while_others_come_and_go():
    prefixes = PrefixMap(1 << 20)
    used = chain(-1, -2, -3)
    for number in range(20_000):
        if number % 1000 == 0:
            prefixes.add(used, "a")
        prefixes.add(chain(number), "b")
        assert matched(prefixes, used) == {"a": 3}
    assert matched(prefixes, chain(0)) == {}
