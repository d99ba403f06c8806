"""Fair shares of waiting requests, as clients see them: a flood of one key does not delay the others.

In most of these tests, the engine ends a request when the test lets it, so that a busy machine changes nothing.
"""

import json
import random
import threading
import time
from pathlib import Path

import pytest

from tests.integration.router.accounts import Load, Site, TimedEngine, body, jain, p95, send_answer, site
from tests.integration.router.listed import Gate
from tests.waiting import wait_until


def wait_for(own: Site, gate: Gate, running: int, waiting: int) -> None:
    wait_until(
        lambda: own.waiting() == waiting and gate.now == running,  # in this order: a place is given before it is taken
        description=f"{running} requests to run, and {waiting} to wait",
        interval=0.005,
    )


def keys_of(gate: Gate) -> list[str]:
    """Return the keys of the requests in the order in which they have reached the engine."""
    return [json.loads(received)["key"] for received in gate.received]


def test_a_flood_of_one_key_does_not_delay_the_requests_of_another(tmp_path: Path):
    gate = Gate(send_answer)
    with site(tmp_path, 4, {"flood": "", "chat": ""}, gate) as own:
        loads, waiting = [own.begin("flood", [[body(200)]] * 50)], 46
        wait_for(own, gate, 4, waiting)
        for _ in range(6):
            gate.let(4)
            waiting -= 4
            wait_for(own, gate, 4, waiting)
            loads.append(own.begin("chat", [[body(5)]]))
            wait_for(own, gate, 4, waiting + 1)
            gate.let()
            wait_for(own, gate, 4, waiting)
            assert keys_of(gate)[-1] == "chat", "the next place is for it, and not for those that have waited longer"
        loads.append(own.begin("flood", [[body(5)]]))
        wait_for(own, gate, 4, waiting + 1)
        gate.let()
        wait_for(own, gate, 4, waiting)
        assert json.loads(gate.received[-1])["max_tokens"] == 200, "requests of one key keep their order"
        gate.let(100)
        for load in loads:
            load.wait()


@pytest.mark.parametrize("shares", [(1, 1, 1, 1, 1), (1, 2, 4)])
def test_keys_that_flood_get_tokens_by_their_shares(tmp_path: Path, shares: tuple[int, ...]):
    gate, draw, places, connections = Gate(send_answer), random.Random(3), 8, 12
    names = ["chat", *(f"k{number}" for number in range(1, len(shares)))]
    keys = {name: f", share = {share}" for name, share in zip(names, shares, strict=True)}
    with site(tmp_path, places, keys, gate) as own:
        # The keys' requests differ in length, on average and among each other.
        orders = {
            key: [[body(draw.randint(5, 40 * (1 + number))) for _ in range(99)] for _ in range(connections)]
            for number, key in enumerate(keys)
        }
        loads = {key: own.begin(key, each) for key, each in orders.items()}
        waiting = connections * len(keys) - places
        before: dict[str, int] = {}
        for turn in range(100):
            wait_for(own, gate, places, waiting)
            if turn == 20:  # until then, the router learns how long answers are
                before = {key: len(load.served) for key, load in loads.items()}
            gate.let(places // 2)
        wait_for(own, gate, places, waiting)
        tokens = [load.tokens(before[key]) for key, load in loads.items()]
        gate.let(10_000)
        for load in loads.values():
            load.stop()
        for load in loads.values():
            load.wait()
    assert jain([number / share for number, share in zip(tokens, shares, strict=True)]) >= 0.95
    if len(set(shares)) > 1:
        for number, share in zip(tokens, shares, strict=True):
            assert number / sum(tokens) == pytest.approx(share / sum(shares), rel=0.1), tokens


def test_a_batch_of_low_priority_uses_idle_time_only(tmp_path: Path):
    gate = Gate(send_answer)
    with site(tmp_path, 4, {"chat": "", "batch": ", priority = -9"}, gate) as own:
        batch = own.begin("batch", [[body(50)] * 3 for _ in range(12)])
        wait_for(own, gate, 3, 9)
        chat = own.begin("chat", [[body(5)]])
        wait_until(lambda: gate.now == 4, description="the request not to wait: a place is left for it")
        assert keys_of(gate)[-1] == "chat"
        assert own.waiting() == 9
        gate.let(100)
        chat.wait()
        assert len(batch.wait()) == 3 * 12


# By the clock, on a machine that has nothing else to do.

FIRST_SECONDS = 0.4  # until the first token of a request that need not wait


def timed_flood(own: Site, key: str, count: int) -> Load:
    """Send as many long streams at once. They end at different times."""
    draw = random.Random(count)
    return own.begin(key, [[body(200, 0.1, 0.2 + 0.6 * draw.random())] for _ in range(count)])


def first_tokens(own: Site, key: str, count: int) -> list[float]:
    """Send short requests, one after the other; return the seconds until the first token of each."""
    return [served.first for served in own.one_by_one(key, [body(5, FIRST_SECONDS)] * count)]


@pytest.mark.long
def test_the_time_to_first_token_beside_a_flood_is_nearly_that_alone(tmp_path: Path):
    with site(tmp_path, 24, {"flood": "", "chat": ""}, TimedEngine()) as own:
        alone = p95(first_tokens(own, "chat", 4))
        load = timed_flood(own, "flood", 200)
        wait_until(lambda: own.waiting() > 160, description="the flood to wait")
        wait_until(lambda: own.waiting() < 155, description="the first streams, which began together, to end")
        fair = first_tokens(own, "chat", 7)
        load.wait()
        load = timed_flood(own, "flood", 200)
        wait_until(lambda: own.waiting() > 160, description="the flood to wait")
        first_come = first_tokens(own, "flood", 1)[0]  # of the same account: behind all that wait
        load.wait()
    assert p95(fair) <= 1.5 * alone, (alone, fair)
    assert first_come > 5 * alone


@pytest.mark.long
def test_fair_shares_cost_no_throughput(tmp_path: Path):
    """The same work, of two accounts and of one, which is served first come, first served."""
    loads: dict[str, list[float]] = {"fair": [], "fcfs": []}
    engine = TimedEngine()
    with site(tmp_path, 8, {"chat": "", "other": ""}, engine) as own:
        for kind in ("fcfs", "fair", "fair", "fcfs"):
            draw = random.Random(5)
            orders = [[body(50, 0.01, 0.2 * draw.random()) for _ in range(99)] for _ in range(24)]
            second = "other" if kind == "fair" else "chat"
            both = [own.begin("chat", orders[:12]), own.begin(second, orders[12:])]
            wait_until(lambda: own.waiting() > 8, description="requests to wait")
            began = time.monotonic()
            threading.Event().wait(4)
            loads[kind].append(engine.mean_load(began, time.monotonic()))
            for load in both:
                load.stop()
            for load in both:
                load.wait()
    assert sum(loads["fair"]) >= 0.98 * sum(loads["fcfs"]), loads
