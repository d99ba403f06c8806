import itertools

from svc.router.workers.prefix_rings import MAX_HASHES, RING_RECORDS, PrefixRings
from svc.router.workers.shared_prefixes import SharedPrefixes

NAMES = "abc"


def processes(count: int = 3) -> list[SharedPrefixes]:
    rings = PrefixRings(count)
    return [SharedPrefixes(1 << 20, rings, slot, lambda: NAMES) for slot in range(count)]


def send(process: SharedPrefixes, hashes: list[int], instance: str) -> None:
    process.add(hashes, instance)
    process.settle(is_sent=True)


def matched(prefixes: SharedPrefixes, hashes: list[int]) -> dict[str, int]:
    matches = prefixes.find(hashes)
    return {name: length for length, bits in matches for name, bit in prefixes.bits.items() if bit & bits}


def test_all_processes_know_the_prefixes_that_one_has_sent():
    first, second, third = processes()
    send(first, [1, 2, 3], "a")
    send(second, [1, 2, 4], "b")
    for process in (first, second, third):
        assert matched(process, [1, 2, 3, 5]) == {"a": 3, "b": 2}
    send(third, [1, 2, 3, 5], "c")
    assert matched(first, [1, 2, 3, 5]) == {"c": 4, "a": 3, "b": 2}


def test_a_prefix_that_is_in_the_map_is_not_published_again():
    first, second, _ = processes()
    for _ in range(5):
        send(first, [1, 2, 3], "a")
        send(first, [1, 2], "a")
    assert second._rings.written(0) == 1  # noqa: SLF001


def test_a_new_process_in_a_slot_reads_what_the_others_have_written_and_continues_its_ring():
    first, second, _ = processes()
    send(first, [1, 2], "a")
    send(second, [1, 3], "b")
    successor = SharedPrefixes(1 << 20, second._rings, 1, lambda: NAMES)  # noqa: SLF001
    assert matched(successor, [1, 2]) == {"a": 2}
    send(successor, [1, 2, 4], "c")
    assert matched(first, [1, 2, 4]) == {"c": 3, "a": 2, "b": 1}


def test_a_process_that_falls_behind_misses_the_oldest_only():
    first, second, _ = processes()
    for number in range(3 * RING_RECORDS):
        send(first, [number, number + 10_000_000], "a")
    known = [bool(matched(second, [number])) for number in range(3 * RING_RECORDS)]
    assert [(value, len(list(group))) for value, group in itertools.groupby(known)] == [
        (False, 2 * RING_RECORDS + 1),
        (True, RING_RECORDS - 1),
    ]


def test_the_beginning_of_a_very_long_conversation_is_shared():
    first, second, _ = processes()
    hashes = list(range(1, 200))
    send(first, hashes, "a")
    assert matched(first, hashes) == {"a": 199}
    assert matched(second, hashes) == {"a": MAX_HASHES}


def test_largest_hashes_are_shared():
    first, second, _ = processes()
    send(first, [(1 << 64) - 1, 1 << 63], "a")
    assert matched(second, [(1 << 64) - 1, 1 << 63]) == {"a": 2}


def test_instances_that_have_left_are_ignored():
    rings, names = PrefixRings(2), ["a"]
    first, second = (SharedPrefixes(1 << 20, rings, slot, lambda: names) for slot in range(2))
    send(first, [1], "gone")
    send(first, [1], "a")
    assert matched(second, [1]) == {"a": 1}
    names.append("new")
    second.forget_names()
    send(first, [1], "new")
    assert matched(second, [1]) == {"a": 1, "new": 1}


def test_a_choice_that_is_not_final_is_not_recorded():
    first, second, _ = processes()
    first.add([1, 2], "a")
    first.add([1, 2], "b")
    first.settle(is_sent=True)
    first.settle(is_sent=True)
    first.add([3], "a")
    first.settle(is_sent=False)
    first.settle(is_sent=True)
    for process in (first, second):
        assert matched(process, [1, 2]) == {"b": 2}
        assert matched(process, [3]) == {}


def test_an_instance_that_has_left_gets_no_entry_from_a_process_that_still_has_it():
    rings, names = PrefixRings(2), ["a", "b"]
    first, second = (SharedPrefixes(1 << 20, rings, slot, lambda: names) for slot in range(2))
    send(first, [1], "a")
    assert matched(second, [1]) == {"a": 1}
    names.remove("a")
    second.forget("a")
    second.forget_names()
    send(first, [2], "a")
    send(first, [2], "b")
    assert matched(second, [2]) == {"b": 1}
    assert second.bits.keys() == {"b"}
