"""The latest revision that a process knows of."""

from svc.registry.store.revision_watch import RevisionWatch


def test_a_revision_that_is_not_newer_is_ignored():
    revision = RevisionWatch()
    revision.advance(7)
    waiting = revision.changed
    revision.advance(6)
    revision.advance(7)
    assert (revision.value, waiting.is_set()) == (7, False)
    revision.advance(8)
    assert (revision.value, waiting.is_set()) == (8, True)


def test_lost_data_is_distinguished_from_a_late_answer():
    revision = RevisionWatch()
    revision.advance(7)
    before = revision.value
    revision.advance(9)  # while the request to the store was under way
    revision.synchronize(8, before)
    assert revision.value == 9
    revision.synchronize(3, revision.value)
    assert revision.value == 3


def test_wake_ends_the_waits():
    revision = RevisionWatch()
    waiting = revision.changed
    revision.wake()
    assert waiting.is_set()
    assert not revision.changed.is_set()
