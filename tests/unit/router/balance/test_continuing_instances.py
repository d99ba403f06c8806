from svc.router.balance.account import Account
from svc.router.balance.continuing_instances import FreePlaces, choose_continuing_or_wait, has_continuing_instance
from svc.router.balance.request_queue import Waiter
from svc.router.balance.routing_request import RoutingRequest
from svc.router.balance.routing_table import build
from svc.router.resume.dialect import Dialect
from tests.unit.router.examples import state, target

CHATS = target("chats", "m", metadata={"continues": True})
BOTH = target("both", "m", metadata={"continues": True, "continues_messages": True})
NONE = target("none", "m", metadata={"continues_messages": "yes"})
ANY_INSTANCE = ""
CHAT = Dialect.CHAT.proof


def names(*targets, proof: str) -> list[str]:
    """Return which of the instances may continue an answer."""
    return [t.name for t in targets if has_continuing_instance(build([t], lambda _: True), "m", proof)]


def test_an_answer_goes_on_only_where_its_form_is_proven_to_be_continued():
    instances = (CHATS, BOTH, NONE)
    assert names(*instances, proof=CHAT) == ["chats", "both"]
    assert names(*instances, proof=Dialect.COMPLETIONS.proof) == ["chats", "both"]
    assert names(*instances, proof=Dialect.MESSAGES.proof) == ["both"]
    assert names(*instances, proof=ANY_INSTANCE) == ["chats", "both", "none"]
    assert not has_continuing_instance(build([BOTH], lambda _: True), "other", CHAT)


def test_no_place_is_taken_at_an_instance_that_the_answer_has_left():
    one = target("one", "m", metadata={"continues": True, "max_concurrency": 1})
    places = FreePlaces(state(one, BOTH).balancer)
    assert places.has_instance("m", CHAT, ("one",))
    assert not places.has_instance("m", CHAT, ("one", "both"))
    assert not places.take("m", CHAT, ("one", "both"))
    assert places.take("m", CHAT, ("both",))
    assert not places.take("m", CHAT, ("both",))
    assert places.take("m", CHAT, ("one",))


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
    assert choose_continuing_or_wait(balancer, request, on_wait, (), CHAT, 60.0) is busy
    assert charges == [None, None]
    assert request.account is not None
