"""Instances that fail: ejection, the return by a trial request, and retries on other instances."""

import threading
from collections.abc import Iterator

import pytest

from svc.router.balance.ejection import BASE_EJECTION_SECONDS, EJECTION_JITTER_RATIO
from svc.router.resume.eligibility import REASONS
from tests.integration.router.client import get
from tests.integration.router.event_streams import CHUNKED, chunk, last_error
from tests.integration.router.failing_scripts import closes, resets
from tests.integration.router.instance import Instance, Peer, ReceivedRequest, Script, ok
from tests.integration.router.listed import Gate, Listed, at, listed
from tests.waiting import wait_until

MAX_ERRORS = 3


@pytest.fixture(scope="module")
def site() -> Iterator[Listed]:
    with listed(
        "--policy",
        "round_robin",
        "--max-errors",
        MAX_ERRORS,
        "--first-byte-timeout",
        0.3,
        "--idle-timeout",
        0.3,
        "--allow-paths",
        "/slots,/ok",
    ) as made:
        yield made


@pytest.fixture(autouse=True)
def as_new(site: Listed) -> None:
    """Forget ejections of the test before: the router does not know any of these names then."""
    site.tell()


def status(number: int) -> Script:
    return lambda peer, received: peer.send(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % number)


def breaks_off(peer: Peer, received: ReceivedRequest) -> bool:
    peer.send(CHUNKED + chunk(b"data: 1\n\n"))
    return False


def pauses(peer: Peer, received: ReceivedRequest) -> None:
    peer.send(CHUNKED + chunk(b"data: 1\n\n"))


def says_nothing(peer: Peer, received: ReceivedRequest) -> None:
    pass


def ejected(site: Listed, name: str = "a") -> bool:
    return site.router.service(name)["ejected"]


@pytest.mark.parametrize("fails", [closes, resets, *map(status, (502, 503, 504)), breaks_off, pauses, says_nothing])
def test_failures_in_a_row_eject_an_instance(site: Listed, a: Instance, b: Instance, fails: Script):
    a.play(fails)
    site.tell(at(a, "a", "m", "only a"), at(b, "b", "m"))
    for _ in range(MAX_ERRORS):
        assert not ejected(site)
        site.answer("only a")
    assert ejected(site)
    assert site.router.get("/v1/models").json()["data"][0]["id"] == "m", "b has it"
    received = len(a.received)
    assert [site.answer("m").status for _ in range(10)] == [200] * 10
    assert (len(a.received), len(b.received)) == (received, 10)


def test_an_instance_that_cannot_be_reached_is_ejected(site: Listed, b: Instance):
    dead = Instance()
    dead.close()
    site.tell(at(dead, "a", "m"), at(b, "b", "m"))
    assert [site.answer("m").status for _ in range(2 * MAX_ERRORS)] == [200] * 2 * MAX_ERRORS
    assert ejected(site)
    retries = site.router.get("/stats").json()["retries"]
    assert [site.answer("m").status for _ in range(10)] == [200] * 10
    assert site.router.get("/stats").json()["retries"] == retries, "nobody is sent there any more"


@pytest.mark.parametrize("number", [400, 401, 404, 408, 413, 422, 429, 499, 500, 501, 505])
def test_errors_that_clients_can_cause_eject_no_instance(site: Listed, a: Instance, b: Instance, number: int):
    a.play(status(number))
    site.tell(at(a, "a", "m"), at(b, "b", "m"))
    told = [site.answer("m").status for _ in range(4 * MAX_ERRORS)]
    assert sorted(told) == sorted([200, number] * 2 * MAX_ERRORS)
    assert not ejected(site)


def test_an_instance_that_answers_500_is_ejected_while_its_peer_answers(site: Listed, a: Instance, b: Instance):
    a.play(status(500))
    site.tell(at(a, "a", "m"), at(b, "b", "m"))
    told = [site.answer("m").status for _ in range(22)]
    assert sorted(told) == [200] * 11 + [500] * 11
    assert (ejected(site), site.router.service("a")["failing"], site.router.service("b")["failing"]) == (1, 1, 0)
    metrics = site.router.get("/metrics").text
    assert 'svc_router_instance_failing{instance="a"} 1.0' in metrics
    assert [site.answer("m").status for _ in range(10)] == [200] * 10
    wait_until(lambda: site.answer("m").status == 500, timeout=60, description="a trial")
    assert ejected(site), "a trial that gets a 500 has failed"
    assert site.router.service("a")["failing"]


def test_answers_500_of_all_instances_are_the_fault_of_the_requests(site: Listed, a: Instance, b: Instance):
    for instance in (a, b):
        instance.play(status(500))
    site.tell(at(a, "a", "m"), at(b, "b", "m"))
    assert [site.answer("m").status for _ in range(60)] == [500] * 60
    for name in "ab":
        assert not ejected(site, name)
        assert not site.router.service(name)["failing"]


def test_a_path_that_does_not_infer_ejects_no_instance(site: Listed, a: Instance, b: Instance):
    """A client can cause the 503 there, as with llama.cpp; and a 200 there does not prove that the engine works."""
    slots = get(b"/slots?fail_on_no_slot=1")
    a.play(lambda peer, received: status(200 if received.line.endswith(b"/ok HTTP/1.1") else 503)(peer, received))
    site.tell(at(a, "a", "m"), at(b, "b", "other", weight=0))
    with site.router.client() as client:
        for _ in range(4 * MAX_ERRORS):
            client.send(slots).answer()
        assert not ejected(site)
        for _ in range(MAX_ERRORS):
            assert site.answer("m").status == 503
            assert client.send(get(b"/ok")).answer().status == 200
    assert ejected(site)


def test_an_answer_ends_a_row_of_failures(site: Listed, a: Instance, b: Instance):
    turns = iter([502, 502, 200, 502, 504, 500, 503, 503, 400])
    a.play(lambda peer, received: status(next(turns))(peer, received))
    site.tell(at(a, "a", "m"), at(b, "b", "other"))
    assert [site.answer("m").status for _ in range(9)] == [502, 502, 200, 502, 504, 500, 503, 503, 400]
    assert not ejected(site)


def test_clients_that_leave_are_no_failures(site: Listed, a: Instance, b: Instance):
    a.play(pauses)
    site.tell(at(a, "a", "m"), at(b, "b", "m"))
    for _ in range(4 * MAX_ERRORS):
        with site.ask("m") as client:
            client.head()
    wait_until(lambda: site.router.in_flight() == 0)
    assert not ejected(site)


def test_clients_that_do_not_read_are_no_failures(site: Listed, a: Instance, b: Instance):
    """The router blocks in sending to them, until the answer has paused for too long."""

    def floods(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(CHUNKED)
        while True:  # until the router closes
            peer.send(chunk(b"data: %b\n\n" % (b"x" * 100_000)))

    a.play(floods)
    site.tell(at(a, "a", "m"), at(b, "b", "other"))
    clients = [site.ask("m") for _ in range(2 * MAX_ERRORS)]
    for client in clients:
        client.head()
    wait_until(lambda: site.router.in_flight() == 0, description="the router to give up on them")
    assert not ejected(site)
    for client in clients:
        client.sock.close()


def test_an_ejected_instance_returns_by_one_trial_request(site: Listed, a: Instance, b: Instance):
    """The answer need not be complete for that: a stream may take minutes."""
    go = threading.Event()

    def streams(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(CHUNKED + chunk(b"data: 1\n\n"))
        assert go.wait(20)
        peer.send(b"0\r\n\r\n")

    a.play(status(502))
    site.tell(at(a, "a", "m", "only a"), at(b, "b", "m"))
    for _ in range(MAX_ERRORS):
        site.answer("only a")
    assert ejected(site)
    a.play(gate := Gate(streams))
    assert site.answer("m").body == b"ok"
    assert not gate.received
    wait_until(
        lambda: not ejected(site),
        timeout=BASE_EJECTION_SECONDS * (1 + EJECTION_JITTER_RATIO) + 2,
        description="the time to be over",
    )
    wait_until(lambda: _lands(site, gate), description="a request to be the trial")
    assert [site.answer("m").status for _ in range(10)] == [200] * 10
    assert len(gate.received) == 1, "nobody knows yet how the one trial ends"
    assert ejected(site)
    gate.let()
    wait_until(lambda: not ejected(site), description="the answer to begin")
    assert site.router.in_flight() == 1
    go.set()
    a.script = ok
    before = len(a.received)
    assert [site.answer("m").status for _ in range(10)] == [200] * 10
    assert len(a.received) == before + 5, "it has its share again"


def _lands(site: Listed, gate: Gate) -> bool:
    """Send a request without reading its answer, and return whether one is at the gate."""
    threading.Thread(target=site.answer, args=("m",), daemon=True).start()
    threading.Event().wait(0.05)
    return bool(gate.received)


def test_at_most_half_of_the_instances_are_ejected_at_once(site: Listed, instances: list[Instance]):
    for instance in instances:
        instance.play(status(504))
    fourth = Instance()
    fourth.play(status(504))
    names = "abcd"
    site.tell(*(at(i, n, "m", f"only {n}") for i, n in zip((*instances, fourth), names, strict=True)))
    for name in names:
        for _ in range(2 * MAX_ERRORS):
            assert site.answer(f"only {name}").status == 504, "the only one is tried, ejected or not"
    assert [ejected(site, n) for n in names] == [True, True, False, False]
    fourth.close()


def test_the_only_instance_is_tried_although_it_is_ejected(site: Listed, a: Instance):
    a.play(status(502))
    site.tell(at(a, "a", "m"))
    for _ in range(MAX_ERRORS):
        assert site.answer("m").status == 502
    assert ejected(site)
    a.play()
    assert site.answer("m").status == 200


@pytest.mark.parametrize(("load", "retried"), [(25, 5), (5, 3)])
def test_retries_are_a_fifth_of_the_load_or_three(site: Listed, a: Instance, b: Instance, load: int, retried: int):
    """All first attempts go to a, which fails them at the same time; b holds the repeated ones."""
    failing, holding = Gate(status(503)), Gate()
    a.play(failing)
    b.play(holding)
    with listed("--first-byte-timeout", 20) as own:
        own.tell(at(a, "a", "m"), at(b, "b", "m", weight=0))
        clients = [own.ask("m", n=n) for n in range(load)]
        wait_until(lambda: failing.now == load)
        failing.let(load)
        wait_until(lambda: own.router.in_flight() == holding.now == retried, description="the others to be told")
        holding.let(load)
        told = []
        for client in clients:
            with client:
                told.append(client.answer().status)
        assert sorted(told) == [200] * retried + [503] * (load - retried)


# Timeouts of their own.


def test_an_answer_that_does_not_begin_in_time_is_504(site: Listed, a: Instance):
    a.play(says_nothing)
    site.tell(at(a, "a", "m"))
    answer = site.answer("m")
    assert (answer.status, answer.error()["message"]) == (504, "no answer within 0.3 s")


def test_a_stream_that_pauses_too_long_ends_with_the_error_event(site: Listed, a: Instance):
    a.play(pauses)
    site.tell(at(a, "a", "m"))
    told = site.answer("m").body
    assert told.startswith(b"data: 1\n\n")
    assert (
        last_error(told)["message"]
        == f"the answer paused for 0.3 s; it could not be continued: {REASONS['unreadable']}; send the request again"
    )


def test_a_stream_may_take_longer_than_its_pauses(site: Listed, a: Instance):
    def slow(peer: Peer, received: ReceivedRequest) -> None:
        peer.send(CHUNKED)
        for _ in range(8):
            threading.Event().wait(0.1)
            peer.send(chunk(b"data: 1\n\n"))
        peer.send(b"0\r\n\r\n")

    a.play(slow)
    site.tell(at(a, "a", "m"))
    assert site.answer("m").body == b"data: 1\n\n" * 8
