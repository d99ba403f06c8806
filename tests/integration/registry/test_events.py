"""Events: stored with the change, limited in number, kept across restarts; waited for, and streamed."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from msgspec.structs import replace

from svc.base.sqlite_file import SUFFIXES
from svc.protocol.event import Actor, Event
from svc.registry import event_query
from svc.registry.access.guard import Guard, token_file
from svc.registry.app import create_app
from svc.registry.heartbeats import renew_lease
from svc.registry.store import store_file
from svc.registry.store.contract import (
    AUDIT_RETENTION_SECONDS,
    MAX_AUDIT_EVENTS_PER_ACTOR,
    MAX_EVENTS_PER_REPORTER,
    MAX_OWN_EVENTS,
    MAX_RECENT_AUDIT_EVENTS,
    MAX_REPORTED_EVENTS,
)
from svc.registry.store.sqlite import SqliteStore
from tests.fork_server import run_svc
from tests.integration.registry.process import Registry
from tests.integration.registry.stores import put
from tests.unit.registry.services import registration, service
from tests.waiting import wait_until

EJECTED = {"kind": "ejected", "service": "a", "source": "router", "message": "3 failures"}


ALICE, BOB = Actor("alice", "10.0.0.9"), Actor("user:bob", "127.0.0.1")


def kinds(store, after=0):
    return [event.kind for event in store.events(after)[0]]


# Every store.


def test_each_change_has_its_event(store):
    put(store, service("a", status="starting"))
    put(store, service("a"))
    store.drain("a", True)
    store.drain("a", True)
    store.drain("a", True, handover=True)
    store.drain("a", True, handover=True)
    store.drain("a", False)
    store.drain("nobody", True)
    assert store.remove("a", why="it was removed")
    events, last = store.events(0)
    assert [event.kind for event in events] == ["registered", "running", "drained", "handover", "undrained", "left"]
    assert [event.id for event in events] == [1, 2, 3, 4, 5, 6]
    assert last == 6
    assert events[-1].message == "it was removed"
    assert abs(events[-1].time - time.time()) < 60
    assert store.event_counts == dict.fromkeys(("registered", "running", "drained", "handover", "undrained", "left"), 1)


def test_only_heartbeats_that_change_something_make_events(store):
    put(store, service("a"))
    before = store.events(0)[1]
    renew_lease(store, "a", 2e9, None)
    renew_lease(store, "a", 2e9 + 1, "running")
    assert store.events(before) == ([], before)
    renew_lease(store, "a", 2e9 + 2, "stopping")
    assert kinds(store, before) == ["stopping"]


def test_a_change_that_raises_makes_no_event(store):
    put(store, service("a"))

    def refuse(old):
        raise LookupError

    with pytest.raises(LookupError):
        store.change("a", refuse)
    assert kinds(store) == ["registered"]


def test_reported_events_get_ids_and_do_not_raise_the_revision(store):
    put(store, service("a"))
    revision = store.snapshot()[0]
    reported = [Event(time=5.0, kind="ejected", service="a", source="router", message=str(n)) for n in range(3)]
    assert [event.id for event in store.add_events(reported)] == [2, 3, 4]
    assert store.events(1) == ([replace(event, id=at) for at, event in enumerate(reported, 2)], 4)
    assert store.snapshot()[0] == revision


def test_only_the_last_events_are_kept_and_ids_continue(store, reopen):
    event = Event(time=5.0, kind="ejected", service="a")
    for _ in range(11):
        store.add_events([event] * 100)
    events, last = store.events(0)
    assert (len(events), events[0].id, last) == (MAX_OWN_EVENTS, 101, 1100)
    assert [event.id for event in store.events(1098)[0]] == [1099, 1100]
    again = reopen()
    assert again.events(1099)[1] == 1100
    assert again.add_events([event])[0].id == 1101


def report(service="a", source="router-1"):
    return Event(time=5.0, kind="passing", service=service, source=source)


def test_reported_events_displace_none_of_the_registrys_own(store, reopen):
    put(store, service("a"))
    store.drain("a", True)
    for number in range(12):
        store.add_events([report(source=f"router-{number}")] * 100)
    events, last = store.events(0)
    assert ([event.kind for event in events[:2]], last) == (["registered", "drained"], 1202)
    assert len(events) == 2 + MAX_REPORTED_EVENTS
    assert [event.id for event in events[2:]] == list(range(last - MAX_REPORTED_EVENTS + 1, last + 1))
    assert reopen().events(0) == (events, last)
    assert [event.id for event in store.events(last - 3)[0]] == [last - 2, last - 1, last]


@pytest.mark.parametrize(
    ("noisy", "quiet"),
    [
        (report(source="router-x@10.0.0.9"), report(source="router-x@10.0.0.8")),
        (report("a", "babysitter"), report("b", "babysitter")),
        (report(source="router-1"), report(source="router-2")),
    ],
    ids=["address", "babysitter", "router"],
)
def test_the_events_of_a_reporter_displace_only_its_own(store, noisy, quiet):
    store.add_events([quiet])
    put(store, service("a"))
    for _ in range(2):
        store.add_events([noisy] * MAX_EVENTS_PER_REPORTER)
    events, _ = store.events(0)
    assert [(event.source, event.service) for event in events[:2]] == [(quiet.source, quiet.service), ("registry", "a")]
    assert [event.id for event in events[2:]] == list(range(103, 203))


def test_what_operators_did_is_displaced_by_no_other_event(store, reopen):
    store.change("a", lambda old: service("a"), ALICE)
    store.drain("a", True, BOB)
    store.drain("a", False, ALICE)
    store.remove("a", actor=BOB)
    put(store, service("b"))
    before = store.events(0, audit=True)
    assert [(event.kind, event.actor, event.address) for event in before[0]] == [
        ("registered", "alice", "10.0.0.9"),
        ("drained", "user:bob", "127.0.0.1"),
        ("undrained", "alice", "10.0.0.9"),
        ("left", "user:bob", "127.0.0.1"),
    ]
    store.add_events([Event(time=5.0, kind="healthy", service="b")] * (MAX_OWN_EVENTS + 1))
    for number in range(6):
        store.add_events([report(source=f"router-{number}")] * 100)
    audit, last = reopen().events(0, audit=True)
    assert (audit, last) == (before[0], 5 + MAX_OWN_EVENTS + 1 + 600)
    events = store.events(0)[0]
    assert events[:4] == audit
    assert len(events) == 4 + MAX_OWN_EVENTS + MAX_REPORTED_EVENTS
    assert store.events(2, audit=True)[0] == audit[2:]
    assert store.events(last, audit=True) == ([], last)


@pytest.mark.parametrize("flooders", [(ALICE,), (Actor("unverified@10.0.0.1", ""), Actor("unverified@10.0.0.2", ""))])
def test_an_actor_displaces_only_its_own_events_and_old_ones_are_dropped(store, flooders):
    now = time.time()
    past, bobs, *flood = (
        Event(time=at, kind="rollout", service="svc", source="operator", message='"time":1,').by(actor)
        for at, actor in ((now - AUDIT_RETENTION_SECONDS - 60, BOB), (now, BOB), *((now, actor) for actor in flooders))
    )
    store.add_events([past])
    store.add_events([bobs])
    for _ in range(4):
        store.add_events(flood * (MAX_AUDIT_EVENTS_PER_ACTOR // 4 // len(flood)))
    _, last = store.events(0)
    store.add_events(flood[:1])
    audit = store.events(0, audit=True)[0]
    assert [event.id for event in audit] == [2, *range(4, last + 2)]
    assert audit[0] == replace(bobs, id=2)
    assert [event.id for event in store.events(0)[0]] == list(range(last + 2 - MAX_RECENT_AUDIT_EVENTS, last + 2))


def test_own_and_reported_events_are_in_one_order(store):
    put(store, service("a"))
    store.add_events([report()])
    store.drain("a", True)
    store.add_events([report()])
    assert kinds(store) == ["registered", "passing", "drained", "passing"]
    assert [event.id for event in store.events(1)[0]] == [2, 3, 4]


def test_an_id_that_was_never_given_counts_as_0(store):
    put(store, service("a"))
    assert [event.id for event in store.events(999)[0]] == [1]


def test_a_wait_ends_with_the_next_event_and_with_wake(store):
    put(store, service("a"))
    last = store.events(0)[1]
    passing = Event(time=1.0, kind="passing", service="a")
    draining, adding = (
        (lambda: store.drain("a", True), ["drained"]),
        (lambda: store.add_events([passing]), ["passing"]),
    )
    for act, expected in (draining, adding, (store.wake, [])):
        answers = []
        waiter = threading.Thread(target=lambda answers=answers, last=last: answers.append(store.events(last, 20)))
        waiter.start()
        act()
        waiter.join(10)
        if not expected and waiter.is_alive():  # it had not begun to wait
            store.wake()
            waiter.join(10)
        events, last = answers[0]
        assert [event.kind for event in events] == expected
    assert store.events(last, 0.01) == ([], last)


# The SQLite store.


def test_a_file_of_an_earlier_version_gets_the_events_table(tmp_path):
    path = tmp_path / "registry.db"
    with sqlite3.connect(path) as db:
        for migration in store_file.MIGRATIONS[:2]:
            for statement in migration:
                db.execute(statement)
        db.execute("UPDATE revision SET value = 7")
        db.execute("PRAGMA user_version = 2")
    db.close()
    own = SqliteStore(path)
    assert own.events(0) == ([], 0)
    put(own, service("a"))
    assert (own.snapshot()[0], kinds(own)) == (8, ["registered"])
    own.close()


def test_ids_continue_after_the_loss_of_the_file(tmp_path):
    path = tmp_path / "registry.db"
    own = SqliteStore(path)
    put(own, service("a"))
    own.drain("a", True)
    for suffix in SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    own.drain("a", False)
    assert [event.id for event in own.events(0)[0]] == [3]
    own.close()


# Over HTTP.


@pytest.fixture
def registry(tmp_path):
    running = Registry(tmp_path, "--health-interval", "3600").start()
    yield running
    running.end()


class Stream:
    """A client of `GET /events` as a stream."""

    def __init__(self, port, *headers, query=""):
        self.sock = socket.create_connection(("127.0.0.1", port), 20)
        lines = "".join(f"{header}\r\n" for header in ("Host: localhost", "Accept: text/event-stream", *headers))
        self.sock.sendall(f"GET /events{query} HTTP/1.1\r\n{lines}\r\n".encode())
        self.rest = b""

    def next(self):
        while True:
            while b"\n\n" not in self.rest:
                data = self.sock.recv(65536)
                if not data:
                    return None
                self.rest += data
            block, _, self.rest = self.rest.partition(b"\n\n")
            if b"event: " in block:
                lines = block[block.index(b"id: ") :].decode().split("\n")
                fields = dict(line.split(": ", 1) for line in lines if ": " in line)
                return int(fields["id"]), fields["event"], json.loads(fields["data"])


def test_a_stream_sends_each_event_once_and_can_be_resumed(registry):
    registry.client.register(registration("a"))
    stream = Stream(registry.port)
    assert stream.next()[:2] == (1, "registered")
    registry.client.drain("a")
    number, kind, data = stream.next()
    assert (number, kind, data["service"], data["level"]) == (2, "drained", "a", "warning")
    stream.sock.close()
    registry.client.drain("a", drained=False)
    registry.client.report_events([EJECTED])
    again = Stream(registry.port, "Last-Event-ID: 2", query="?kind=ejected")
    assert again.next()[:2] == (4, "ejected")
    again.sock.close()


def test_streams_do_not_delay_the_shutdown(registry):
    registry.client.register(registration("a"))
    stream = Stream(registry.port)
    stream.next()
    registry.process.send_signal(signal.SIGTERM)
    assert stream.next() is None
    assert registry.process.wait(5) == 0


def test_events_survive_a_kill(registry):
    registry.client.register(registration("a"))
    registry.client.report_events([EJECTED])
    registry.end()
    registry.start()
    events, last = registry.client.events()
    assert [(event["id"], event["kind"]) for event in events] == [(1, "registered"), (2, "ejected"), (3, "started")]
    assert (events[2]["service"], events[2]["source"], events[2]["level"]) == ("registry", "registry", "info")
    assert re.fullmatch(r"the last heartbeat was \d+ s ago", events[2]["message"])
    assert registry.client.events(last, wait=0.01) == ([], 3)


def test_the_audit_is_read_in_pages_and_waited_for(registry):
    registry.client.register(registration("a"))
    for drained in (True, False, True):
        registry.client.drain("a", drained=drained)
    audit = {"audit": "true"}
    events, last = registry.client.events(0, limit=2, only=audit)
    assert [(event["kind"], event["actor"], event["address"]) for event in events] == [
        ("drained", "local", "127.0.0.1"),
        ("undrained", "local", "127.0.0.1"),
    ]
    assert [event["id"] for event in registry.client.events(last, only=audit)[0]] == [4]
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(registry.client.events(4, wait=30, only=audit)))
    waiter.start()
    registry.client.report_events([EJECTED])
    registry.client.deregister("a")
    waiter.join(20)
    assert [event["message"] for event in answers[0][0]] == ["by an operator at 127.0.0.1"]


def test_a_wait_ends_only_with_a_matching_event(registry):
    registry.client.register(registration("a"))
    answers = []
    waiter = threading.Thread(
        target=lambda: answers.append(registry.client.events(1, wait=30, only={"kind": "ejected"}))
    )
    waiter.start()
    registry.client.drain("a")
    registry.client.report_events([EJECTED])
    waiter.join(20)
    assert [event["kind"] for event in answers[0][0]] == ["ejected"]
    assert answers[0][1] == 3


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "events"),
        ({"events": []}, "events"),
        ({"events": [EJECTED] * 101}, "100"),
        ({"events": [{**EJECTED, "kind": "registered"}]}, "kind"),
        ({"events": [{**EJECTED, "service": "a b"}]}, "service"),
        ({"events": [{**EJECTED, "source": ""}]}, "source"),
        ({"events": [{**EJECTED, "source": "registry"}]}, "source"),
        ({"events": [{**EJECTED, "source": "Registry"}]}, "source"),
        ({"events": [{**EJECTED, "source": "registry."}]}, "source"),
        ({"events": [{**EJECTED, "source": "routers"}]}, "source"),
        ({"events": [{**EJECTED, "source": "router-"}]}, "source"),
        ({"events": [{**EJECTED, "source": "router-a@10.0.0.1"}]}, "source"),
        ({"events": [{**EJECTED, "source": "Babysitter"}]}, "source"),
        ({"events": [{**EJECTED, "source": "babysitter"}]}, "kind"),
        ({"events": [{**EJECTED, "kind": "restarted"}]}, "kind"),
        ({"events": [{**EJECTED, "kind": "started"}]}, "service"),
        ({"events": [{**EJECTED, "kind": "started", "service": "registry"}]}, "service"),
        ({"events": [{**EJECTED, "service": "registry"}]}, "service"),
        ({"events": [{**EJECTED, "message": 1}]}, "message"),
    ],
)
def test_an_invalid_event_is_rejected_with_its_field(client, body, field):
    answer = client.post("/events", json=body)
    assert answer.status_code == 400
    assert field in answer.get_json()["error"]["message"]


def test_control_characters_in_a_message_are_replaced(client):
    client.post("/events", json={"events": [{**EJECTED, "message": "fake \x1b[31mred\r\nand more"}]})
    assert client.get("/events").get_json()["events"][0]["message"] == "fake \ufffd[31mred and more"


@pytest.fixture
def client(tmp_path):
    own = SqliteStore(tmp_path / "registry.db")
    yield create_app(own, lambda url: 200).test_client()
    own.close()


@pytest.mark.parametrize("query", ["after=x", "limit=0", "limit=1001", "kind=nonsense", "wait=-1", "after=-1"])
def test_an_invalid_query_is_rejected(client, query):
    assert client.get(f"/events?{query}").status_code == 400


def test_limit_counts_from_the_newest_or_after_an_id(client):
    for _ in range(3):
        client.post("/events", json={"events": [EJECTED, {**EJECTED, "service": "b"}]})
    newest = client.get("/events?limit=2").get_json()
    assert ([event["id"] for event in newest["events"]], newest["last"]) == ([5, 6], 6)
    on = client.get("/events?after=0&limit=2&service=b").get_json()
    assert ([event["id"] for event in on["events"]], on["last"]) == ([2, 4], 4)
    assert client.get("/events?after=4&service=b").get_json()["events"][0]["id"] == 6


def test_metrics_count_events(client):
    client.post("/events", json={"events": [EJECTED]})
    assert 'svc_registry_events_total{kind="ejected"} 1.0' in client.get("/metrics").get_data(as_text=True)


def test_reports_from_another_machine_need_a_token(client, tmp_path):
    for name in ("read", "write"):
        (tmp_path / name).write_text(name + "-token")
    own = SqliteStore(tmp_path / "other.db")
    guard = Guard(*(token_file(str(tmp_path / name)) for name in ("write", "read")))
    guarded = create_app(own, lambda url: 200, guard)
    far = {"environ_base": {"REMOTE_ADDR": "10.0.0.1"}, "json": {"events": [EJECTED]}}
    remote = guarded.test_client()
    assert remote.post("/events", **far).status_code == 401
    for token in ("read-token", "write-token"):
        assert remote.post("/events", headers={"Authorization": f"Bearer {token}"}, **far).status_code == 201
    assert client.post("/events", **far).status_code == 401, "a registry without tokens"
    own.close()


@pytest.fixture
def guarded(tmp_path):
    """An application with both tokens, called from 10.0.0.1."""
    for name in ("read", "write"):
        (tmp_path / name).write_text(name + "-token")
    own = SqliteStore(tmp_path / "guarded.db")
    guard = Guard(*(token_file(str(tmp_path / name)) for name in ("write", "read")))
    caller = create_app(own, lambda url: 200, guard).test_client()
    caller.environ_base["REMOTE_ADDR"] = "10.0.0.1"
    yield caller
    own.close()


def send(client, *reports, token="read", **headers):
    all_headers = {
        "Authorization": f"Bearer {token}-token",
        **{key.replace("_", "-"): text for key, text in headers.items()},
    }
    return client.post("/events", json={"events": list(reports)}, headers=all_headers)


@pytest.mark.parametrize(
    ("token", "headers", "source"),
    [
        ("read", {}, "router-7@10.0.0.1"),
        ("read", {"X_Forwarded_For": "10.0.0.2"}, "router-7@proxy-10.0.0.1"),
        ("write", {}, "router-7"),
        ("write", {"X_Service_Secret": "a-babysitters"}, "router-7@10.0.0.1"),
    ],
)
def test_the_source_of_a_router_without_write_access_has_its_address(guarded, token, headers, source):
    answer = send(guarded, {**EJECTED, "source": "router-7"}, token=token, **headers)
    assert answer.get_json()["events"][0]["source"] == source


def test_a_babysitter_can_report_only_events_of_its_own_services(guarded):
    mine, other = {"X_Service_Secret": "mine"}, {"X_Service_Secret": "others"}
    restarted = {**EJECTED, "kind": "restarted", "source": "babysitter"}
    token = {"Authorization": "Bearer write-token", "X-Service-Secret": "mine"}
    assert guarded.post("/services", json=registration("a"), headers=token).status_code == 201
    assert send(guarded, restarted, token="write", **mine).get_json()["events"][0]["source"] == "babysitter"
    for refused in (send(guarded, restarted, **other), send(guarded, restarted)):
        assert (refused.status_code, refused.get_json()["error"]["code"]) == (403, "not_owner")
    assert send(guarded, {**restarted, "service": "b"}, restarted, **other).status_code == 403


def test_the_source_of_an_unverified_babysitter_has_its_address(guarded):
    restarted = {**EJECTED, "kind": "restarted", "source": "babysitter"}
    token = {"Authorization": "Bearer write-token"}
    assert guarded.post("/services", json=registration("bare"), headers=token).status_code == 201
    for name in ("ghost", "bare"):
        for headers in ({}, {"X_Service_Secret": "any"}):
            (event,) = send(guarded, {**restarted, "service": name}, **headers).get_json()["events"]
            assert event["source"] == "babysitter@10.0.0.1"
    (event,) = send(guarded, {**restarted, "service": "ghost"}, token="write").get_json()["events"]
    assert event["source"] == "babysitter"


def test_a_client_that_invents_names_displaces_only_its_own_events(guarded):
    ghosts = [{**EJECTED, "kind": "restarted", "source": "babysitter", "service": f"g{n}"} for n in range(100)]
    assert send(guarded, *[{**EJECTED, "source": "router"}] * 50, token="write").status_code == 201
    for minute in range(10):
        guarded.application.extensions["svc.registry.api"].event_receiver._limiter._buckets.clear()
        assert send(guarded, *ghosts).status_code == 201, minute
    read = {"Authorization": "Bearer read-token"}
    event_query = guarded.get("/events?limit=1000", headers=read).get_json()["events"]
    sources = [event["source"] for event in event_query]
    assert (sources.count("router"), sources.count("babysitter@10.0.0.1")) == (50, MAX_EVENTS_PER_REPORTER)


def test_the_rate_of_one_reporter_is_limited_with_retry_after(guarded):
    assert send(guarded, *[EJECTED] * 100).status_code == 201
    refused = send(guarded, EJECTED, X_Service_Secret="a-secret-makes-no-other-reporter")
    assert "10.0.0.1 sent more than 100 events at once or 60 a minute; send again in 1 s" in refused.text
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert send(guarded, EJECTED).get_json()["error"]["code"] == "rate_limit_exceeded"
    guarded.environ_base["REMOTE_ADDR"] = "10.0.0.2"
    assert send(guarded, EJECTED).status_code == 201


def test_the_number_of_streams_is_limited(client, monkeypatch):
    monkeypatch.setattr(event_query, "MAX_EVENT_STREAMS", 1)
    ask = {"headers": {"Accept": "text/event-stream"}, "buffered": False}
    first = client.get("/events", **ask)
    next(iter(first.response))
    assert client.get("/events", **ask).status_code == 429
    first.close()
    assert client.get("/events", **ask).status_code == 200


# The command svc events.


def test_svc_events_lists_filters_and_prints_json(registry, svc):
    registry.client.register(registration("a"))
    registry.client.report_events([EJECTED])
    url = registry.client.urls[0]
    lines = svc("events", "--registry-url", url).splitlines()
    assert [line.split()[2:4] for line in lines] == [["registered", "a"], ["ejected", "a"]]
    assert lines[1].endswith("3 failures  (router)")
    (line,) = svc("events", "--registry-url", url, "--json", "--kind", "ejected").splitlines()
    assert json.loads(line) == registry.client.events(1)[0][0]
    assert svc("events", "--registry-url", url, "-n", "1").count("\n") == 1
    assert svc("events", "--registry-url", url, "--service", "a", "--kind", "left") == ""


def test_svc_events_follow_misses_nothing_during_a_restart(registry, tmp_path):
    registry.client.register(registration("a"))
    command = [sys.executable, "-m", "svc", "events", "-f", "--registry-url", registry.client.urls[0]]
    out = tmp_path / "out"
    with out.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=tmp_path)
        try:
            wait_until(lambda: "registered" in out.read_text(), description="the past events", timeout=20)
            registry.client.drain("a")
            wait_until(lambda: "drained" in out.read_text(), description="the first event", timeout=20)
            registry.end()
            wait_until(
                lambda: "trying again" in out.read_text(), description="the command to notice the failure", timeout=20
            )
            registry.start()
            registry.client.drain("a", drained=False)
            wait_until(lambda: "undrained" in out.read_text(), description="the next event", timeout=20)
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
        finally:
            process.kill()
            process.wait()
    assert "Traceback" not in out.read_text()
    assert out.read_text().count(" undrained ") == 1


@pytest.fixture
def svc(tmp_path):
    def run(*arguments):
        return run_svc(*arguments, cwd=tmp_path)[0]

    return run
