"""The load of an engine on its way from the engine's metrics to the registry."""

import threading
from contextlib import suppress

import requests

from tests.integration.fakes import mock
from tests.waiting import wait_until


def loads(registry):
    return {load.service: load for load in registry.client.loads()}


def load_of(registry, service):
    """The load, or None while it is older than three intervals, as on a busy machine."""
    return loads(registry).get(service)


def test_the_load_of_a_mock_reaches_the_registry_with_its_requests(babysitter, registry, port):
    babysitter(registry.url, more="load_interval = 0.2\n")
    with mock("q", ["a"], port, hang=True) as instance:
        first = wait_until(lambda: load_of(registry, "q-server"), description="a load is reported")
        assert (first.running, first.waiting, first.kv_cache, first.interval) == (0, 0, 0.0, 0.2)
        body = {"model": "a", "messages": [{"role": "user", "content": "Hi"}]}
        url = f"{instance.url}/v1/chat/completions"
        threading.Thread(target=lambda: _send(url, body), daemon=True).start()
        wait_until(
            lambda: (load := load_of(registry, "q-server")) and load.running == 1,
            description="the request is in the load",
        )
    wait_until(lambda: not loads(registry), description="the load of an engine that has ended is dropped")


def _send(url, body):
    with suppress(requests.RequestException):  # the mock ends before it answers
        requests.post(url, json=body, timeout=30)
