from svc.router.balance.resuming_instances import may_resume
from svc.router.balance.routing_table import build
from svc.router.resume.dialect import Dialect
from tests.unit.router.examples import target

CHATS = target("chats", "m", metadata={"continues": True})
BOTH = target("both", "m", metadata={"continues": True, "continues_messages": True})
NONE = target("none", "m", metadata={"continues_messages": "yes"})
ANY_INSTANCE = ""


def names(*targets, proof: str, left=()) -> list[str]:
    """Return which of the instances may continue an answer."""
    return [t.name for t in targets if may_resume(build([t], lambda _: True), "m", left, proof)]


def test_an_answer_goes_on_only_where_its_form_is_proven_to_be_continued():
    instances = (CHATS, BOTH, NONE)
    assert names(*instances, proof=Dialect.CHAT.proof) == ["chats", "both"]
    assert names(*instances, proof=Dialect.COMPLETIONS.proof) == ["chats", "both"]
    assert names(*instances, proof=Dialect.MESSAGES.proof) == ["both"]
    assert names(*instances, proof=ANY_INSTANCE) == ["chats", "both", "none"]


def test_an_answer_does_not_return_to_an_instance_that_it_has_left():
    assert names(CHATS, BOTH, proof=Dialect.CHAT.proof, left=("both",)) == ["chats"]
    assert not may_resume(build([BOTH], lambda _: True), "other", (), Dialect.CHAT.proof)
