import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from svc.router.workers.process_group import ProcessGroup
from svc.router.workers.shared_counts import CONTROL_SLOT


@dataclass
class Worker:
    """A process as gunicorn's master numbers it."""

    age: int


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    group = ProcessGroup(2)
    yield group
    group.close()


def test_the_first_process_is_the_control_process_and_each_has_a_slot(group: ProcessGroup):
    assert [group.assign(Worker(age)) for age in (1, 2, 3)] == [CONTROL_SLOT, 1, 2]
    assert group.counts.processes == 3


@pytest.mark.parametrize("slot", [0, 1, 2])
def test_a_process_that_replaces_another_gets_its_slot_with_zero_counts(group: ProcessGroup, slot: int):
    for age in range(3):
        group.assign(Worker(age))
    row = group.counts.row("instance a")
    row[0], row[1], row[2] = 4, 5, 6
    group.free(Worker(slot))
    assert group.assign(Worker(9)) == slot
    assert row.tolist() == [0 if own == slot else count for own, count in enumerate((4, 5, 6))]


def test_a_process_of_another_group_changes_nothing(group: ProcessGroup):
    group.assign(Worker(1))
    group.counts.row("instance a")[0] = 4
    group.free(Worker(7))
    assert group.in_use
    assert group.counts.row("instance a")[0] == 4


def test_a_group_is_in_use_until_its_last_process_has_ended(group: ProcessGroup):
    assert not group.in_use
    for age in (1, 2):
        group.assign(Worker(age))
    group.free(Worker(1))
    assert group.in_use
    group.free(Worker(2))
    assert not group.in_use


def test_a_group_misses_the_processes_that_have_ended(group: ProcessGroup):
    assert group.missing == 3
    for age in range(3):
        group.assign(Worker(age))
    assert group.missing == 0
    group.free(Worker(1))
    group.free(Worker(7))  # of another group
    assert group.missing == 1


def test_a_closed_group_keeps_no_descriptors():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        ProcessGroup(2).close()
    assert len(os.listdir("/proc/self/fd")) == before
