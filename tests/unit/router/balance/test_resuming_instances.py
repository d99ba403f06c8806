from svc.router.balance.account import Account
from svc.router.balance.request_queue import Waiter
from svc.router.balance.resuming_instances import choose_resuming_or_wait, may_resume
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.routing_table import build
from svc.router.resume.dialect import Dialect
from tests.unit.router.examples import state, target

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


def test_the_wait_for_an_instance_charges_no_account():
    """The request was charged when it was sent at first; a second charge would never end."""
    busy = target("busy", "m", metadata={"continues": True, "max_concurrency": 1})
    balancer = state(busy).balancer
    balancer.begin_attempt(busy)
    charges = []

    def on_wait(waiter: Waiter) -> None:
        charges.append(waiter.charge)
        if balancer.in_flight:
            balancer.end_attempt(busy, 1.0, False)

    request = RoutingRequest("m", body=b"{}", account=Account("ci"))
    assert choose_resuming_or_wait(balancer, request, on_wait, (), Dialect.CHAT.proof, 60.0) is busy
    assert charges == [None, None]
    assert request.account is not None
