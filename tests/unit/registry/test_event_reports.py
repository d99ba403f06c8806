"""The events that routers and babysitters report: what is accepted, and from whom."""

import pytest
from msgspec.structs import replace

from svc.base.errors import BadRequest, Forbidden, RateLimited
from svc.protocol.event import Actor
from svc.registry.access.identity import Client
from svc.registry.access.rate_limit import BURST_EVENTS
from svc.registry.event_reports import MAX_EVENTS_PER_REQUEST, EventReceiver, parse_events
from svc.registry.leases import owner
from svc.registry.store.sqlite import SqliteStore
from tests.unit.registry.services import NOW, service

EJECTED = {"kind": "ejected", "service": "qwen", "source": "router"}
KEY_ADDED = {"kind": "key-added", "service": "router", "source": "operator", "message": "ci"}
RESTARTED = {"kind": "restarted", "service": "qwen", "source": "babysitter"}
STRANGER = Client("10.0.0.9", False, False, "", owner.ANONYMOUS)
LOCAL = STRANGER._replace(address="127.0.0.1", is_local=True)
OPERATOR = STRANGER._replace(operator="alice")
ALICE = Actor("alice", "10.0.0.9")
BABYSITTER = STRANGER._replace(secret_digest=owner.digest("s" * 40))


@pytest.fixture
def store(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    store.change("qwen", lambda old: replace(service(), owner=BABYSITTER.secret_digest))
    yield store
    store.close()


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"kind": "registered"}, "kind"),
        ({"kind": 7}, "kind"),
        ({"kind": "restarted"}, "kind"),
        ({"service": "a b"}, "service"),
        ({"service": "registry"}, "service"),
        ({"kind": "started", "service": "qwen"}, "service"),
        ({"source": "router-a b"}, "source"),
        ({"source": "registry"}, "source"),
        ({"source": "operator"}, "kind"),
        ({"kind": "key-added"}, "kind"),
        ({"source": "operator-bob"}, "source"),
        ({"message": 7}, "message"),
    ],
)
def test_an_invalid_event_is_refused_by_its_place(changes, place):
    with pytest.raises(BadRequest, match=rf"^events\[1\]\.{place}: "):
        parse_events({"events": [EJECTED, {**EJECTED, **changes}]}, NOW)


@pytest.mark.parametrize("events", [None, [], "ejected", [EJECTED] * (MAX_EVENTS_PER_REQUEST + 1)])
def test_the_list_of_events_has_a_limited_length(events):
    with pytest.raises(BadRequest, match="^events: must be a list"):
        parse_events({"events": events}, NOW)


def test_a_message_becomes_one_line():
    (event,) = parse_events({"events": [{**EJECTED, "message": "one\ntwo\x1b[1m"}]}, NOW)
    assert event.message == "one two\ufffd[1m"


@pytest.mark.parametrize(
    ("client", "event", "source"),
    [
        (LOCAL, EJECTED, "router"),
        (OPERATOR, EJECTED, "router"),
        (STRANGER, EJECTED, "router@10.0.0.9"),
        (STRANGER._replace(is_forwarded=True), EJECTED, "router@proxy-10.0.0.9"),
        (BABYSITTER, RESTARTED, "babysitter"),
        (BABYSITTER, EJECTED, "router@10.0.0.9"),
    ],
)
def test_an_unverified_source_gets_the_address_of_its_client(store, client, event, source):
    (stored,) = EventReceiver(store, lambda: NOW).receive({"events": [event]}, client, ALICE, NOW)
    assert stored.source == source
    assert store.events(0)[0][-1] == stored


@pytest.mark.parametrize(("client", "source"), [(OPERATOR, "operator"), (STRANGER, "operator@10.0.0.9")])
def test_what_an_operator_did_belongs_to_the_audit(store, client, source):
    body = {"events": [{**KEY_ADDED, "actor": "mallory", "address": "10.0.0.1"}]}
    (stored,) = EventReceiver(store, lambda: NOW).receive(body, client, ALICE, NOW)
    assert (stored.source, stored.actor, stored.address) == (source, "alice", "10.0.0.9")
    assert stored.message == "ci; by alice at 10.0.0.9"
    assert store.events(0, audit=True)[0] == [stored]


def test_a_babysitter_reports_no_events_of_anothers_service(store):
    other = STRANGER._replace(secret_digest=owner.digest("t" * 40))
    with pytest.raises(Forbidden):
        EventReceiver(store, lambda: NOW).receive({"events": [RESTARTED]}, other, ALICE, NOW)


def test_each_reporter_has_its_own_rate_limit(store):
    receiver = EventReceiver(store, lambda: NOW)
    receiver.receive({"events": [EJECTED] * int(BURST_EVENTS)}, STRANGER, ALICE, NOW)
    with pytest.raises(RateLimited, match=r"10\.0\.0\.9 sent more than 100 events") as failure:
        receiver.receive({"events": [EJECTED]}, STRANGER, ALICE, NOW)
    assert failure.value.headers()["Retry-After"] == "1"
    receiver.receive({"events": [RESTARTED]}, BABYSITTER, ALICE, NOW)
    receiver.receive({"events": [KEY_ADDED]}, STRANGER, ALICE, NOW)
