"""Loads of instances at a real registry: connections that stay open, refusals, and what routers get."""

import json
import signal
import socket
import time

import pytest
import requests

from svc.client.load_sender import LoadSender
from svc.client.registry import RegistryClient
from svc.protocol.instance_load import InstanceLoad
from svc.registry.kept_connections import ROUND_SECONDS
from tests.integration.registry.process import Registry
from tests.integration.registry.test_heartbeats import answer, exchange, heartbeat
from tests.unit.registry.services import registration
from tests.waiting import wait_until

SECRET = "s" * 40


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    running = Registry(tmp_path_factory.mktemp("loads")).start()
    for name in ("qwen", "other"):
        running.client.register(registration(name))
    yield running
    running.end()
    assert "Traceback" not in running.log.read_text()


@pytest.fixture
def wire(registry):
    with socket.create_connection(("127.0.0.1", registry.port), 10) as sock:
        yield sock


def report(name="qwen", running=3, body=None, **fields):
    body = json.dumps({"running": running, "waiting": 0, **fields}).encode() if body is None else body
    return heartbeat(name, body).replace(b"/heartbeat", b"/load")


def loads(registry):
    listed = requests.get(f"{registry.client.urls[0]}/loads", timeout=5).json()["loads"]
    return {entry["service"]: entry for entry in listed}


def test_a_connection_stays_open_for_further_reports(wire, registry):
    for running in (1, 2, 3):
        code, headers, body = exchange(wire, report(running=running))
        assert (code, headers["connection"], body["message"]) == (200, "keep-alive", "the load of qwen is known")
        assert loads(registry)["qwen"]["running"] == running
    time.sleep(2.5)  # other idle connections end after 2 seconds
    assert exchange(wire, report(running=4))[0] == 200


def test_a_kept_connection_answers_every_other_request_too(wire, registry):
    assert exchange(wire, report())[0] == 200
    assert exchange(wire, heartbeat())[2]["message"] == "qwen is alive"
    assert exchange(wire, report())[0] == 200
    assert exchange(wire, b"GET /services/qwen HTTP/1.1\r\nHost: localhost\r\n\r\n")[2]["name"] == "qwen"
    assert exchange(wire, report())[0] == 200


def test_a_report_in_pieces_is_accepted(wire):
    assert exchange(wire, report())[0] == 200
    data = report(running=9)
    for piece in (data[:20], data[20:-5], data[-5:]):
        wire.sendall(piece)
        time.sleep(1.5 * ROUND_SECONDS)
    assert answer(wire)[0] == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"waiting":1}', ""),
        (b'{"running":-1,"waiting":1}', "running"),
        (b'{"running":1,"waiting":"1"}', "waiting"),
        (b'{"running":1,"waiting":1,"kv_cache":1.01}', "kv_cache"),
        (b'{"running":1,"waiting":1,"interval":0}', "interval"),
        (b"[]", ""),
        (b"{", ""),
        (b"", ""),
    ],
)
def test_a_wrong_load_is_refused_and_changes_nothing(wire, registry, body, param):
    assert exchange(wire, report("other", running=1))[0] == 200
    code, _, problem = exchange(wire, report("other", body=body))
    assert (code, problem["error"]["param"] or "") == (400, param)
    assert loads(registry)["other"]["running"] == 1


def test_an_unknown_name_and_the_name_of_another_are_refused(wire, registry):
    url = f"{registry.client.urls[0]}/services"
    assert requests.post(url, json=registration("owned"), headers={"X-Service-Secret": SECRET}, timeout=5).ok
    assert exchange(wire, report("nobody"))[0] == 404
    assert exchange(wire, report("owned"))[0] == 403
    assert "owned" not in loads(registry)
    answered = requests.post(
        f"{url}/owned/load", json={"running": 1, "waiting": 0}, headers={"X-Service-Secret": SECRET}, timeout=5
    )
    assert answered.status_code == 200
    assert loads(registry)["owned"]["running"] == 1


def test_a_load_that_is_not_renewed_is_dropped(wire, registry):
    assert exchange(wire, report("other", interval=0.1))[0] == 200
    wait_until(lambda: "other" not in loads(registry), description="the load is too old")


def test_watchers_are_not_woken_by_loads(wire, registry):
    index = registry.client.list_services().index
    assert exchange(wire, report(running=7))[0] == 200
    url = f"{registry.client.urls[0]}/services?index={index}&wait=0.5"
    assert requests.get(url, timeout=5).headers["X-Registry-Index"] == str(index)


def test_the_sender_keeps_its_connection_and_survives_a_restart(tmp_path):
    registry = Registry(tmp_path).start()
    try:
        registry.client.register(registration())
        sender, load = LoadSender(RegistryClient(registry.client.urls)), InstanceLoad(running=2, waiting=1)
        assert sender.send("qwen", load) is True
        assert sender.send("qwen", load) is True
        assert sender.send("nobody", load) is False
        registry.end(signal.SIGTERM)
        assert sender.send("qwen", load) is None
        registry.start()
        assert sender.send("qwen", load) is True
        assert loads(registry)["qwen"]["waiting"] == 1
    finally:
        registry.end()
    assert "Traceback" not in registry.log.read_text()
