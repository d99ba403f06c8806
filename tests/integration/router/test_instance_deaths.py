"""Instances that die: which requests are saved by another one, which wait, and which are not sent again."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.router.client import Client, post
from tests.integration.router.failing_scripts import closes, resets
from tests.integration.router.instance import Instance, Peer, ReceivedRequest, Script, ok
from tests.integration.router.listed import Gate, Listed, at, listed
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def site() -> Iterator[Listed]:
    with listed("--policy", "round_robin", "--max-errors", 1000, "--queue-timeout", 20) as made:
        yield made


@pytest.fixture
def mortals() -> Iterator[list[Instance]]:
    """Four instances, each of which dies of a poisonous request: it listens no more, and closes its connections."""
    made = [Instance() for _ in range(4)]
    for instance in made:
        instance.play(_dies_of_poison(instance))
    yield made
    for instance in made:
        instance.close()


def _dies_of_poison(instance: Instance) -> Any:
    def script(peer: Peer, received: ReceivedRequest) -> bool:
        poisonous = b"POISON" in received.body
        if poisonous:
            instance.close()
        else:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return not poisonous

    return script


def poisoned(instances: list[Instance]) -> int:
    return sum(b"POISON" in received.body for instance in instances for received in instance.received)


def test_a_request_kills_two_instances_and_its_repetition_none(site: Listed, mortals: list[Instance]):
    site.tell(*(at(instance, f"s{n}", "m") for n, instance in enumerate(mortals)))
    assert [site.answer("m").status for _ in range(4)] == [200] * 4  # there are kept connections, too
    for _ in range(3):
        answer = site.answer("m", messages="POISON")
        assert (answer.status, answer.error()["code"]) == (502, "request_kills_instances")
        assert answer.header(b"x-should-retry") == b"false"
    assert poisoned(mortals) == 2
    assert [site.answer("m").status for _ in range(8)] == [200] * 8
    assert 'svc_router_poisoned_requests_total{key=""} 1.0' in site.router.get("/metrics").text
    events = wait_until(lambda: [e for e in site.registry.events if e["kind"] == "poisoned"], description="the events")
    assert len(events) == 2
    assert "it died while it served request " in events[0]["message"]


def test_another_body_is_not_refused_for_it(site: Listed, mortals: list[Instance]):
    site.tell(*(at(instance, f"t{n}", "m") for n, instance in enumerate(mortals)))
    assert site.answer("m", messages="POISON too").error()["code"] == "request_kills_instances"
    assert site.answer("m", messages="poison too").status == 200


def test_one_death_fails_none_of_the_requests_in_flight(site: Listed, mortals: list[Instance]):
    """24 of them, a third of which it had: more than the retry budget of a fifth."""
    gates = [Gate() for _ in mortals[:3]]
    for gate, instance in zip(gates, mortals, strict=False):
        instance.play(gate)
    site.tell(*(at(instance, f"u{n}", "m") for n, instance in enumerate(mortals[:3])))
    clients = [site.ask("m", n=n) for n in range(24)]
    wait_until(lambda: [gate.now for gate in gates] == [8, 8, 8], description="all requests to be in flight")
    mortals[0].close()
    wait_until(lambda: gates[1].now + gates[2].now == 24, description="the dead one's requests to be sent again")
    for gate in gates:
        gate.let(24)
    assert [_answered(client) for client in clients] == [200] * 24


def _answered(client: Client) -> int:
    with client:
        return client.answer().status


@pytest.mark.parametrize("model", ["m", "other"])
def test_requests_wait_until_the_only_instance_restarts(site: Listed, mortals: list[Instance], model: str):
    """And then until another life of it runs: here at another port, so that it cannot be met too early."""
    dead, reborn = mortals[:2]
    name = f"only-{model}"
    site.tell(at(dead, name, model))
    assert site.answer(model).status == 200
    dead.close()
    clients = [site.ask(model, n=n) for n in range(3)]
    wait_until(lambda: site.waiting() == 3, description="the requests to wait")
    site.tell(at(dead, name, model, status="starting"))
    assert site.waiting() == 3
    late = site.ask(model)
    wait_until(lambda: site.waiting() == 4, description="one that came later to wait, too")
    site.tell(at(reborn, name, model))
    assert [_answered(client) for client in [*clients, late]] == [200] * 4


def test_a_request_that_waits_for_the_registry_delays_no_other(site: Listed, mortals: list[Instance]):
    """Its instance refused it once, and takes the next ones."""
    dead = mortals[0]
    dead.close()
    site.tell(at(dead, "back", "m"))
    with site.ask("m") as client:
        wait_until(lambda: site.waiting() == 1, description="the request to wait")
        back = Instance(dead.port)
        assert site.answer("m").status == 200
        site.tell(at(back, "back", "m", status="starting"))
        site.tell(at(back, "back", "m"))
        assert client.answer().status == 200
        back.close()


def test_an_instance_that_closes_on_large_bodies_delays_no_other(site: Listed, mortals: list[Instance]):
    picky = mortals[0]
    picky.reads_at_most = 100_000
    site.tell(at(picky, "picky", "m"))
    for _ in range(4):
        assert site.answer("m", x="x" * 8_000_000).status == 502
        assert site.waiting() == 0
        assert site.answer("m").status == 200
    assert not site.router.service("picky")["ejected"]


def test_where_nothing_is_noticed_the_refusal_is_reported(site: Listed, mortals: list[Instance]):
    dead = mortals[0]
    dead.close()
    site.tell(at(dead, "lost", "m"))
    answer = site.answer("m")
    refusals = "lost: Connection refused; then lost: Connection refused"  # tried once more at the end
    assert (answer.status, answer.error()["message"]) == (502, f"cannot reach an instance: {refusals}")


def test_what_is_given_up_is_503(site: Listed, mortals: list[Instance]):
    dead = mortals[0]
    dead.close()
    site.tell(at(dead, "lost", "m"))
    with site.ask("m") as client:
        wait_until(lambda: site.waiting() == 1, description="the request to wait")
        threading.Thread(target=site.tell, args=(at(dead, "lost", "m", status="failed"),)).start()
        assert client.answer().error()["message"] == "No healthy services available for model 'm'"


def test_the_error_lists_the_failure_of_each_attempt(site: Listed, mortals: list[Instance]):
    """Not only that the last instance refused it."""
    dying, dead = mortals[:2]
    dead.close()
    site.tell(at(dying, "a-dying", "m"), at(dead, "b-dead", "m", weight=0))
    with site.router.client() as client:
        message = client.send(post({"model": "m", "messages": "POISON of one"})).answer().error()["message"]
    assert message.startswith(
        "no instance answered: a-dying: it closed the connection without an answer; then b-dead: Connection refused"
    )


@pytest.mark.parametrize("ends", [resets, closes])
def test_a_kept_connection_that_is_ended_is_replaced_once(site: Listed, mortals: list[Instance], ends: Script):
    """What may have been executed on it is sent at most to this instance again and to one other."""
    for instance in mortals[:3]:
        instance.play(lambda peer, received: ends(peer, received) if b"RESET" in received.body else ok(peer, received))
    site.tell(*(at(instance, f"v{n}", "m") for n, instance in enumerate(mortals[:3])))
    assert [site.answer("m").status for _ in range(3)] == [200] * 3  # each has a kept connection
    assert site.answer("m", messages="RESET").status == 502
    executed = [sum(b"RESET" in received.body for received in instance.received) for instance in mortals[:3]]
    assert sorted(executed) == [0, 1, 2]


class ClosesLate:
    """An instance that closes a connection in order, after an answer on it, only when the next request arrives there.

    So its kernel acknowledges that request, which the instance discards. llama.cpp does so after each stream.
    """

    def __init__(self) -> None:
        self._used: list[Peer] = []
        self.discarded = 0

    def __call__(self, peer: Peer, received: ReceivedRequest) -> object:
        if peer in self._used:
            self.discarded += 1
            return False
        self._used.append(peer)
        return ok(peer, received)


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        (b"/v1/chat/completions", {}, 200),
        (b"/v1/responses", {}, 200),
        (b"/v1/responses", {"store": True}, 502),
    ],
)
def test_what_an_instance_discarded_with_a_kept_connection_is_sent_again_unless_it_creates_something(
    site: Listed, mortals: list[Instance], path: bytes, fields: dict[str, Any], status: int
):
    script = ClosesLate()
    mortals[0].play(script)
    site.tell(at(mortals[0], "only", "m"))
    body = {"model": "m", "messages": [], **fields}
    with site.router.client() as client:
        assert client.send(post(body, path=path)).answer().status == 200
        assert client.send(post(body, path=path)).answer().status == status
    assert script.discarded == 1
    assert site.router.service("only")["error_count"] == (status != 200)


def test_instances_that_reset_and_die_are_counted_as_killed(site: Listed, mortals: list[Instance]):
    for instance in mortals:
        instance.play(lambda peer, received, instance=instance: _dies_by_reset(instance, peer, received))
    site.tell(*(at(instance, f"w{n}", "m") for n, instance in enumerate(mortals)))
    assert [site.answer("m").status for _ in range(4)] == [200] * 4
    answer = site.answer("m", messages="POISON by reset")
    assert answer.error()["code"] == "request_kills_instances"
    assert poisoned(mortals) == 2


def _dies_by_reset(instance: Instance, peer: Peer, received: ReceivedRequest) -> object:
    if b"POISON" not in received.body:
        return ok(peer, received)
    resets(peer, received)
    instance.stop_listening()
    return False
