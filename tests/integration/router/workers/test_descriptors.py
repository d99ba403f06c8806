from contextlib import suppress

from tests.integration.router.client import get
from tests.integration.router.instance import Instance
from tests.integration.router.routers import BIN, running, service, static
from tests.waiting import free_port, wait_until

DESCRIPTORS = 150  # of each process; a request for /stats takes two in the control process
REQUESTS = 200


def test_the_control_process_refuses_requests_beyond_its_descriptors(tmp_path):
    instance, port = Instance(), free_port()
    path = static(tmp_path / "static.json", [service("a", instance.port, "m")])
    command = f"{BIN}/svc router --host 127.0.0.1 --port {port} --workers 3 --static-services {path}"
    with running(["sh", "-c", f"ulimit -n {DESCRIPTORS}; exec {command}"], port) as own:
        wait_until(own.ready, description="the router to be ready")
        clients = [own.client().send(get(b"/stats")) for _ in range(REQUESTS)]
        statuses = set()
        for client in clients:
            with suppress(ConnectionError, AssertionError), client:  # a process with too many connections closes some
                statuses.add(client.answer().status)
        assert 200 in statuses
        assert statuses <= {200, 503}
        own.assert_no_exception()
        assert own.in_flight() == 0
    instance.close()
