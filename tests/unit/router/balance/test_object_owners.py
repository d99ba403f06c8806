"""The map from objects to instances, and which objects are gone with an instance."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from svc.router.balance.object_owners import WAYS, ObjectOwners
from tests.unit.router.examples import target

A, B, C = TARGETS = (target("a", "m"), target("b", "m"), target("c", "m"))
SIZE = 2 * WAYS
ids = st.integers(0, 200).map("resp_{}".format)
names = st.sampled_from("abc")


def owners(size: int = SIZE) -> ObjectOwners:
    return ObjectOwners(threading.Lock(), size)


def known(map_: ObjectOwners, among: range = range(201)) -> dict[str, str]:
    """Return the instance of each id that the map knows."""
    found = {f"resp_{n}": map_.find(f"resp_{n}", TARGETS) for n in among}
    return {object_id: target.name for object_id, target in found.items() if target is not None}


def test_an_object_is_found_at_its_instance_while_that_is_in_the_table():
    map_ = owners()
    map_.add("resp_1", "b")
    assert map_.find("resp_1", TARGETS) is B
    assert map_.find("resp_1", (A, C)) is None
    assert map_.find("resp_2", TARGETS) is None


def test_an_object_moves_and_is_forgotten():
    map_ = owners()
    map_.add("resp_1", "a")
    map_.add("resp_1", "c")
    assert (map_.find("resp_1", TARGETS), len(map_)) == (C, 1)
    map_.remove("resp_1")
    map_.remove("resp_1")
    assert (map_.find("resp_1", TARGETS), len(map_)) == (None, 0)


@given(st.lists(st.tuples(ids, names)))
def test_the_map_never_exceeds_its_bound_and_what_it_has_is_true(additions: list[tuple[str, str]]):
    map_, model = owners(), dict[str, str]()
    for object_id, name in additions:
        map_.add(object_id, name)
        model[object_id] = name
        assert map_.find(object_id, TARGETS).name == name
        assert len(map_) <= SIZE
    found = known(map_)
    assert found.items() <= model.items()
    assert len(found) == len(map_)


@given(st.lists(st.tuples(ids, names), max_size=WAYS))
def test_no_entry_is_replaced_while_there_is_a_free_place(additions: list[tuple[str, str]]):
    map_ = owners(WAYS)
    for object_id, name in additions:
        map_.add(object_id, name)
    assert known(map_) == dict(additions)


def test_the_entry_that_was_not_used_for_the_longest_time_is_replaced():
    map_ = owners(WAYS)
    for n in range(WAYS):
        map_.add(f"resp_{n}", "a")
    map_.find("resp_0", TARGETS)
    map_.add("resp_200", "b")
    assert known(map_).keys() == {f"resp_{n}" for n in (0, *range(2, WAYS), 200)}


@given(st.lists(st.tuples(ids, names)), st.sets(names))
def test_when_instances_leave_only_their_entries_go(additions: list[tuple[str, str]], gone: set[str]):
    map_ = owners()
    for object_id, name in additions:
        map_.add(object_id, name)
    before = known(map_)
    map_.remove_instances(gone)
    assert known(map_) == {object_id: name for object_id, name in before.items() if name not in gone}


@given(st.lists(st.tuples(ids, names)))
def test_the_same_operations_give_the_same_map(additions: list[tuple[str, str]]):
    maps = owners(), owners()
    for object_id, name in additions:
        for map_ in maps:
            map_.add(object_id, name)
    assert known(maps[0]) == known(maps[1])
