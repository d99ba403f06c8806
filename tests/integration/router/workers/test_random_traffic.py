import asyncio

import pytest

from tests.integration.router.routers import router, service, static
from tests.integration.router.workers.random_traffic import RandomTraffic
from tests.waiting import wait_until

CLIENTS = 40


async def run(traffic: RandomTraffic, tmp_path, workers: int) -> dict[str, int]:
    """Run the traffic through a router; return the outcomes, once the router is at rest."""
    ports = await traffic.start()
    services = [
        service(f"i{number}", port, "m", metadata={"max_concurrency": instance.limit})
        for number, (port, instance) in enumerate(zip(ports, traffic.instances, strict=True))
    ]
    path = static(tmp_path / "static.json", services)
    flags = ("--workers", workers, "--static-services", path, "--health-interval", 600, "--policy", "least_requests")

    def start_and_wait():
        with router(*flags) as own:
            asyncio.run_coroutine_threadsafe(traffic.run(own), loop).result()
            wait_until(lambda: own.get("/stats").json()["in_flight"] == 0, description="all places to be free")
            assert own.get("/stats").json()["waiting"] == 0
            own.assert_no_exception()

    loop = asyncio.get_running_loop()
    await asyncio.to_thread(start_and_wait)
    return dict(traffic.outcomes)


def check(requests: int, kills: int, workers: int, tmp_path) -> None:
    traffic = RandomTraffic(requests, CLIENTS, kills, seed=7)
    outcomes = asyncio.run(run(traffic, tmp_path, workers))
    assert [instance.excesses for instance in traffic.instances] == [[], [], []]
    assert outcomes.keys() <= {"200", "lost"}, outcomes
    assert outcomes.get("lost", 0) <= kills * CLIENTS
    assert outcomes["200"] > requests * 0.9


def test_limits_hold_and_no_request_is_forgotten_while_processes_are_killed(tmp_path):
    check(3000, 3, 3, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_limits_hold_for_a_hundred_thousand_requests_over_eight_processes(tmp_path):
    check(100_000, 30, 8, tmp_path)
