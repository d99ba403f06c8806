"""What a babysitter does about an instance that lives and is of no use, under a real supervisord."""

import os
import re
import signal
import threading

import pytest
import requests

from tests.integration.babysitter.conftest import Babysat
from tests.integration.fakes import mock
from tests.waiting import wait_until

MOCK = 'type = "mock"\nmodels = ["a"]\n'
PROBE = {"probe": "generate", "probe_interval": 0.5, "probe_timeout": 2, "probe_threshold": 2}
ASKED = {"model": "a", "messages": [{"role": "user", "content": "Hello"}]}
LONG = 60


def behave(port, **changes):
    """Of the instance on this port; not at once where it is just starting."""
    assert requests.post(f"http://127.0.0.1:{port}/mock/behave", json=changes, timeout=LONG).ok


def chat(port, **more):
    return requests.post(f"http://127.0.0.1:{port}/v1/chat/completions", json={**ASKED, **more}, timeout=LONG)


def generated(told):
    """It has answered a probe."""
    return told.get("/info").json()["probe_result"] == "generated"


def test_a_hung_engine_gets_no_requests_and_is_restarted_with_the_reason_told(site, registry, port):
    it, told = site(MOCK, restart_delay=2, **PROBE), Babysat(port)
    registry.await_status("q-server", "running")
    wait_until(lambda: generated(told), LONG, "a probe is answered")
    pid = it.supervisord.process("q:server").pid
    behave(port, hang=True)
    assert requests.get(f"http://127.0.0.1:{port}/v1/models", timeout=LONG).ok  # which says nothing
    registry.await_status("q-server", "draining", LONG)
    assert told.health() == 503
    assert told.get("/info").json()["state"] == "hung"
    registry.await_status("q-server", "starting", LONG)
    why = "hung: no token within 2 s (2 in a row)"
    process = wait_until(
        lambda: (p := it.supervisord.process("q:server")).state == "BACKOFF" and p, description="it waits its delay"
    )
    assert process.spawnerr == f"{why}; restart 1 of 5 in 2 s"
    registry.await_status("q-server", "running", LONG)
    wait_until(lambda: told.health() == 200, LONG, "health is back")
    assert chat(port, max_tokens=1).ok
    info = told.get("/info").json()
    assert (info["restart_count"], info["restart_reason"], info["probe_failures"]) == (1, why, 0)
    assert info["restarts_asked"] == {"hung": 1, "startup": 0, "memory": 0}
    assert it.supervisord.process("q:server").pid != pid
    assert it.log("babysitter_q").count(f"q: restarting it: {why}") == 1
    metrics = told.get("/metrics").text
    assert 'svc_babysitter_restarts_asked_total{reason="hung"} 1.0' in metrics
    assert float(re.search(r'svc_babysitter_probes_total{result="silent"} (\S+)', metrics)[1]) >= 2
    assert "svc_babysitter_restarts_total 1.0" in metrics


@pytest.mark.long
def test_a_busy_engine_whose_tokens_move_is_left_alone_though_it_answers_no_probe(site, registry, port):
    it, told = site(MOCK, **{**PROBE, "probe_interval": 0.3, "probe_threshold": 1}), Babysat(port)
    registry.await_status("q-server", "running")
    wait_until(lambda: generated(told), LONG, "a probe is answered")
    pid = it.supervisord.process("q:server").pid
    behave(port, tokens=100_000, token_delay=1)  # so slow that none moves between most probes
    reader, stream = read(port)
    behave(port, hang=True)  # whoever comes now gets nothing; the stream goes on
    busy = lambda: 'svc_babysitter_probes_total{result="busy"} 2' in told.get("/metrics").text  # noqa: E731
    wait_until(busy, LONG, "probes have failed while tokens moved")
    assert registry.status("q-server") == "running"
    assert it.supervisord.process("q:server").pid == pid
    stream.close()
    reader.join(LONG)
    registry.await_status("q-server", "starting", LONG)


@pytest.mark.long
def test_it_is_not_asked_while_other_requests_move(site, registry, port):
    """Engines are asked for tokens only where nobody else does."""
    it, told = site(MOCK, **PROBE), Babysat(port)
    registry.await_status("q-server", "running")
    wait_until(lambda: generated(told), LONG, "a probe is answered")
    behave(port, tokens=100_000, token_delay=0.05)
    reader, stream = read(port)
    behave(port, hang=True)  # whoever comes now gets nothing; the stream goes on
    result = lambda: told.get("/info").json()["probe_result"]  # noqa: E731
    wait_until(lambda: result() == "moved", LONG, "the stream is seen")
    count = requests.get(f"http://127.0.0.1:{port}/mock/stats", timeout=LONG).json()["requests"]
    tokens = requests.get(f"http://127.0.0.1:{port}/mock/stats", timeout=LONG).json()["tokens"]
    wait_until(lambda: stats(port)["tokens"] > tokens + 60, LONG, "three seconds of tokens")
    assert stats(port)["requests"] == count
    assert registry.status("q-server") == "running"
    stream.close()
    reader.join(LONG)
    registry.await_status("q-server", "draining", LONG)
    assert it.supervisord.process("q:server").state == "RUNNING"


def stats(port):
    return requests.get(f"http://127.0.0.1:{port}/mock/stats", timeout=LONG).json()


def read(port):
    """A stream that is read in the background."""
    stream = requests.post(
        f"http://127.0.0.1:{port}/v1/chat/completions", json={**ASKED, "stream": True}, stream=True, timeout=LONG
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
def test_a_process_that_is_stopped_in_its_tracks_is_killed_and_restarted(site, registry, port):
    it = site(MOCK, **{**PROBE, "probe_threshold": 1})
    registry.await_status("q-server", "running")
    pid = it.supervisord.process("q:server").pid
    os.kill(pid, signal.SIGSTOP)  # it will not hear its SIGTERM either
    registry.await_status("q-server", "draining", LONG)
    wait_until(lambda: it.supervisord.process("q:server").pid not in (0, pid), 90, "it was killed, after stopwaitsecs")
    registry.await_status("q-server", "running", LONG)
    assert it.supervisord.restarts()["q:server"].restarts == 1


@pytest.mark.long
def test_one_that_is_never_ready_is_restarted_after_its_time_and_given_up(site, registry, port):
    it = site(MOCK + 'args = ["--loading", "3600"]', max_restarts=1, restart_delay=0, startup_timeout=3)
    registry.await_status("q-server", "starting", LONG)
    registry.await_status("q-server", "failed", LONG)
    told = it.supervisord.restarts()["q:server"]
    assert (told.restarts, told.reason) == (1, "startup: not ready within 3 s of its start")
    info = Babysat(port).get("/info").json()
    assert info["restarts_asked"]["startup"] == 2
    assert it.supervisord.process("q:server").spawnerr == f"{told.reason}; gave up after 1 restarts"


@pytest.mark.long
def test_one_that_eats_memory_finishes_what_it_has_begun_and_is_restarted(site, registry, port):
    it, told = site(MOCK + 'args = ["--child"]', max_memory="256MiB"), Babysat(port)
    registry.await_status("q-server", "running")
    pid = it.supervisord.process("q:server").pid
    wait_until(lambda: told.get("/info").json()["memory"], LONG, "it was weighed")
    assert 0 < told.get("/info").json()["memory"] < 256 << 20
    behave(port, memory=300, first_token_delay=20)
    answer = []
    asking = threading.Thread(target=lambda: answer.append(chat(port).status_code))
    asking.start()
    registry.await_status("q-server", "draining", LONG)
    assert told.health() == 503
    assert "svc_babysitter_max_memory_bytes 2.68435456e+08" in told.get("/metrics").text
    asking.join(LONG)
    assert answer == [200]
    registry.await_status("q-server", "starting", LONG)
    registry.await_status("q-server", "running", LONG)
    assert it.supervisord.process("q:server").pid != pid
    counted = it.supervisord.restarts()["q:server"]
    assert counted.restarts == 1
    assert counted.reason.endswith("MiB used, and 256 MiB is the limit")
    wait_until(lambda: (told.get("/info").json()["memory"] or 256 << 20) < 256 << 20, LONG, "the new one is weighed")


def test_alone_a_hung_engine_is_told_and_left_to_whoever_runs_it(babysitter, registry, port):
    with mock("q", ["a"], port) as instance:
        toml = "".join(f"{key} = {value!r}\n" for key, value in PROBE.items())
        process, told = babysitter(registry.url, toml), Babysat(port)
        registry.await_status("q-server", "running", LONG)
        wait_until(lambda: generated(told), LONG, "a probe is answered")
        assert "no supervisord runs it, so the babysitter reports failures but cannot restart it" in process.said()
        instance.behave(hang=True)
        registry.await_status("q-server", "draining", LONG)
        assert told.health() == 503
        wait_until(lambda: "nothing supervises it here: restart it yourself" in process.said(), LONG, "it says so")
        instance.behave(hang=False)
        registry.await_status("q-server", "running", LONG)
        assert told.health() == 200
        assert told.get("/info").json()["restarts_asked"]["hung"] == 0
        process.end()
