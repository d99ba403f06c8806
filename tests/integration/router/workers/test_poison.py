from collections.abc import Callable

from tests.integration.router.client import post
from tests.integration.router.instance import OK, Instance, Peer, ReceivedRequest
from tests.integration.router.routers import Router, router, service, static
from tests.integration.router.workers.processes import control_process, kill, relaying_processes
from tests.waiting import wait_until

DEADLY = post({"model": "m", "messages": "deadly"})


def dies_of_it(instance: Instance, deaths: list[Instance]) -> Callable[[Peer, ReceivedRequest], object]:
    def script(peer: Peer, received: ReceivedRequest) -> object:
        if b"deadly" not in received.body:
            return peer.send(OK)
        deaths.append(instance)
        instance.stop_listening()
        instance.hang_up()
        return False

    return script


def send(own: Router) -> int:
    with own.client() as client:
        return client.send(DEADLY).answer().status


def test_a_request_that_kills_instances_is_refused_also_after_all_processes_were_replaced(tmp_path):
    deaths: list[Instance] = []
    instances = [Instance() for _ in range(5)]
    for instance in instances:
        instance.script = dies_of_it(instance, deaths)
    path = static(tmp_path / "static.json", [service(f"i{n}", i.port, "m") for n, i in enumerate(instances)])
    with router("--workers", 2, "--static-services", path, "--health-interval", 600) as own:
        assert [send(own) for _ in range(6)] == [502] * 6
        assert len(deaths) == 2
        kill(own, control_process(own))
        wait_until(own.ready)
        for pid in relaying_processes(own):
            kill(own, pid)
        wait_until(own.ready)
        assert [send(own) for _ in range(6)] == [502] * 6
        assert len(deaths) == 2
    for instance in instances:
        instance.close()
