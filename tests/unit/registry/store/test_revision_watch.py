"""The revision as one process knows it."""

from svc.registry.store.revision_watch import RevisionWatch


def test_what_was_passed_already_says_nothing():
    revision = RevisionWatch()
    revision.advance(7)
    waiting = revision.changed
    revision.advance(6)
    revision.advance(7)
    assert (revision.value, waiting.is_set()) == (7, False)
    revision.advance(8)
    assert (revision.value, waiting.is_set()) == (8, True)


def test_a_store_that_went_back_is_told_from_an_answer_that_came_late():
    revision = RevisionWatch()
    revision.advance(7)
    before = revision.value
    revision.advance(9)  # while the store was asked
    revision.synchronize(8, before)
    assert revision.value == 9
    revision.synchronize(3, revision.value)
    assert revision.value == 3


def test_whoever_waits_can_be_let_go():
    revision = RevisionWatch()
    waiting = revision.changed
    revision.wake()
    assert waiting.is_set()
    assert not revision.changed.is_set()
