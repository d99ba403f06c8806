"""The babysitter has a real supervisord restart an instance that hangs, starts too slowly or uses too much memory."""

import os
import re
import signal
import threading

import pytest
import requests

from tests.integration.babysitter.processes import BabysitterClient
from tests.integration.fakes import mock
from tests.waiting import wait_until

MOCK = 'type = "mock"\nmodels = ["a"]\n'
PROBE = {"probe": "generate", "probe_interval": 0.5, "probe_timeout": 2, "probe_threshold": 2}
CHAT_BODY = {"model": "a", "messages": [{"role": "user", "content": "Hello"}]}
TIMEOUT_SECONDS = 60


def behave(port, **changes):
    """Change the behaviour of the mock on this port, waiting while it starts."""
    assert requests.post(f"http://127.0.0.1:{port}/mock/behave", json=changes, timeout=TIMEOUT_SECONDS).ok


def chat(port, **more):
    return requests.post(
        f"http://127.0.0.1:{port}/v1/chat/completions", json={**CHAT_BODY, **more}, timeout=TIMEOUT_SECONDS
    )


def probe_succeeded(client):
    """Return whether the instance has answered its last probe."""
    return client.get("/info").json()["probe_result"] == "generated"


def test_a_hung_engine_drains_and_is_restarted_with_its_reason(site, registry, port):
    running_site, client = site(MOCK, restart_delay=2, **PROBE), BabysitterClient(port)
    registry.await_status("q-server", "running")
    wait_until(lambda: probe_succeeded(client), TIMEOUT_SECONDS, "a probe is answered")
    pid = running_site.supervisord.process("q:server").pid
    behave(port, hang=True)
    assert requests.get(
        f"http://127.0.0.1:{port}/v1/models", timeout=TIMEOUT_SECONDS
    ).ok  # a model list does not prove that it generates tokens
    registry.await_status("q-server", "draining", TIMEOUT_SECONDS)
    assert client.health() == 503
    assert client.get("/info").json()["state"] == "hung"
    registry.await_status("q-server", "starting", TIMEOUT_SECONDS)
    why = "hung: no token within 2 s (2 in a row)"
    process = wait_until(
        lambda: (p := running_site.supervisord.process("q:server")).state == "BACKOFF" and p,
        description="it waits its delay",
    )
    assert process.spawnerr == f"{why}; restart 1 of 5 in 2 s"
    registry.await_status("q-server", "running", TIMEOUT_SECONDS)
    wait_until(lambda: client.health() == 200, TIMEOUT_SECONDS, "health is back")
    assert chat(port, max_tokens=1).ok
    info = client.get("/info").json()
    assert (info["restart_count"], info["restart_reason"], info["probe_failures"]) == (1, why, 0)
    assert info["restarts_asked"] == {"hung": 1, "startup": 0, "memory": 0}
    assert running_site.supervisord.process("q:server").pid != pid
    assert running_site.log("babysitter_q").count(f"q: restarting it: {why}") == 1
    metrics = client.get("/metrics").text
    assert 'svc_babysitter_restarts_asked_total{reason="hung"} 1.0' in metrics
    assert float(re.search(r'svc_babysitter_probes_total{result="silent"} (\S+)', metrics)[1]) >= 2
    assert "svc_babysitter_restarts_total 1.0" in metrics


@pytest.mark.long
def test_a_busy_engine_that_answers_no_probe_is_not_restarted(site, registry, port):
    running_site, client = site(MOCK, **{**PROBE, "probe_interval": 0.3, "probe_threshold": 1}), BabysitterClient(port)
    registry.await_status("q-server", "running")
    wait_until(lambda: probe_succeeded(client), TIMEOUT_SECONDS, "a probe is answered")
    pid = running_site.supervisord.process("q:server").pid
    behave(port, tokens=100_000, token_delay=1)  # so slow that none moves between most probes
    reader, stream = read_stream(port)
    behave(port, hang=True)  # new requests get no answer; the stream continues
    busy = lambda: 'svc_babysitter_probes_total{result="busy"} 2' in client.get("/metrics").text  # noqa: E731
    wait_until(busy, TIMEOUT_SECONDS, "probes have failed while tokens moved")
    assert registry.status("q-server") == "running"
    assert running_site.supervisord.process("q:server").pid == pid
    stream.close()
    reader.join(TIMEOUT_SECONDS)
    registry.await_status("q-server", "starting", TIMEOUT_SECONDS)


@pytest.mark.long
def test_no_probe_is_sent_while_other_requests_make_tokens(site, registry, port):
    """The number of requests at the mock stays the same."""
    running_site, client = site(MOCK, **PROBE), BabysitterClient(port)
    registry.await_status("q-server", "running")
    wait_until(lambda: probe_succeeded(client), TIMEOUT_SECONDS, "a probe is answered")
    behave(port, tokens=100_000, token_delay=0.05)
    reader, stream = read_stream(port)
    behave(port, hang=True)  # new requests get no answer; the stream continues
    result = lambda: client.get("/info").json()["probe_result"]  # noqa: E731
    wait_until(lambda: result() == "moved", TIMEOUT_SECONDS, "the stream is seen")
    count = requests.get(f"http://127.0.0.1:{port}/mock/stats", timeout=TIMEOUT_SECONDS).json()["requests"]
    tokens = requests.get(f"http://127.0.0.1:{port}/mock/stats", timeout=TIMEOUT_SECONDS).json()["tokens"]
    wait_until(lambda: stats(port)["tokens"] > tokens + 60, TIMEOUT_SECONDS, "three seconds of tokens")
    assert stats(port)["requests"] == count
    assert registry.status("q-server") == "running"
    stream.close()
    reader.join(TIMEOUT_SECONDS)
    registry.await_status("q-server", "draining", TIMEOUT_SECONDS)
    assert running_site.supervisord.process("q:server").state == "RUNNING"


def stats(port):
    return requests.get(f"http://127.0.0.1:{port}/mock/stats", timeout=TIMEOUT_SECONDS).json()


def read_stream(port):
    """Return a thread that reads a stream, and the stream."""
    stream = requests.post(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        json={**CHAT_BODY, "stream": True},
        stream=True,
        timeout=TIMEOUT_SECONDS,
    )

    def lines():
        try:
            for _ in stream.iter_lines():
                pass
        except (requests.RequestException, AttributeError, ValueError):
            return  # closed

    reader = threading.Thread(target=lines, daemon=True)
    reader.start()
    return reader, stream


@pytest.mark.long
def test_a_process_that_is_suspended_is_killed_and_restarted(site, registry, port):
    running_site = site(MOCK, **{**PROBE, "probe_threshold": 1})
    registry.await_status("q-server", "running")
    pid = running_site.supervisord.process("q:server").pid
    os.kill(pid, signal.SIGSTOP)  # it does not react to SIGTERM either
    registry.await_status("q-server", "draining", TIMEOUT_SECONDS)
    wait_until(
        lambda: running_site.supervisord.process("q:server").pid not in (0, pid),
        90,
        "it was killed, after stopwaitsecs",
    )
    registry.await_status("q-server", "running", TIMEOUT_SECONDS)
    assert running_site.supervisord.restarts()["q:server"].restarts == 1


@pytest.mark.long
def test_an_instance_that_is_never_ready_is_restarted_then_failed(site, registry, port):
    running_site = site(MOCK + 'args = ["--loading", "3600"]', max_restarts=1, restart_delay=0, startup_timeout=3)
    registry.await_status("q-server", "starting", TIMEOUT_SECONDS)
    registry.await_status("q-server", "failed", TIMEOUT_SECONDS)
    restarts = running_site.supervisord.restarts()["q:server"]
    assert (restarts.restarts, restarts.reason) == (1, "startup: not ready within 3 s of its start")
    info = BabysitterClient(port).get("/info").json()
    assert info["restarts_asked"]["startup"] == 2
    assert running_site.supervisord.process("q:server").spawnerr == f"{restarts.reason}; gave up after 1 restarts"


@pytest.mark.long
def test_too_much_memory_drains_the_instance_and_restarts_it(site, registry, port):
    running_site, client = site(MOCK + 'args = ["--child"]', max_memory="256MiB"), BabysitterClient(port)
    registry.await_status("q-server", "running")
    pid = running_site.supervisord.process("q:server").pid
    wait_until(lambda: client.get("/info").json()["memory"], TIMEOUT_SECONDS, "its memory was measured")
    assert 0 < client.get("/info").json()["memory"] < 256 << 20
    behave(port, memory=300, first_token_delay=20)
    statuses = []
    request = threading.Thread(target=lambda: statuses.append(chat(port).status_code))
    request.start()
    registry.await_status("q-server", "draining", TIMEOUT_SECONDS)
    assert client.health() == 503
    assert "svc_babysitter_max_memory_bytes 2.68435456e+08" in client.get("/metrics").text
    request.join(TIMEOUT_SECONDS)
    assert statuses == [200]
    registry.await_status("q-server", "starting", TIMEOUT_SECONDS)
    registry.await_status("q-server", "running", TIMEOUT_SECONDS)
    assert running_site.supervisord.process("q:server").pid != pid
    restarts = running_site.supervisord.restarts()["q:server"]
    assert restarts.restarts == 1
    assert restarts.reason.endswith("MiB used, and 256 MiB is the limit")
    wait_until(
        lambda: (client.get("/info").json()["memory"] or 256 << 20) < 256 << 20,
        TIMEOUT_SECONDS,
        "the memory of the new process is measured",
    )


def test_without_a_supervisord_a_hung_engine_is_only_reported(babysitter, registry, port):
    with mock("q", ["a"], port) as instance:
        toml = "".join(f"{key} = {value!r}\n" for key, value in PROBE.items())
        process, client = babysitter(registry.url, toml), BabysitterClient(port)
        registry.await_status("q-server", "running", TIMEOUT_SECONDS)
        wait_until(lambda: probe_succeeded(client), TIMEOUT_SECONDS, "a probe is answered")
        assert "no supervisord runs it, so the babysitter reports failures but cannot restart it" in process.output()
        instance.behave(hang=True)
        registry.await_status("q-server", "draining", TIMEOUT_SECONDS)
        assert client.health() == 503
        wait_until(
            lambda: "nothing supervises it here: restart it yourself" in process.output(),
            TIMEOUT_SECONDS,
            "it says so",
        )
        instance.behave(hang=False)
        registry.await_status("q-server", "running", TIMEOUT_SECONDS)
        assert client.health() == 200
        assert client.get("/info").json()["restarts_asked"]["hung"] == 0
        process.end()
