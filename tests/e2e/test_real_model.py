"""A site with a real model: llama.cpp's server with Gemma 3 270M, and OpenAI's client."""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests

from tests.client_libraries import openai
from tests.e2e.llamas import MODEL, await_proofs, needs_llama, start_llamas
from tests.e2e.sites import BIN, SharedSite, Site, http
from tests.e2e.traffic import Traffic
from tests.waiting import free_port, free_port_pair, wait_until

QUESTION = [{"role": "user", "content": "Name a colour."}]
CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]

pytestmark = needs_llama


@pytest.fixture(scope="module")
def shared_llamas() -> Iterator[SharedSite]:
    shared = SharedSite(start_llamas)
    yield shared
    shared.end()


@pytest.fixture
def llamas(shared_llamas: SharedSite) -> Iterator[Site]:
    """Yield a site with two real models; the tests that leave it as it was share it."""
    yield shared_llamas.open()
    shared_llamas.end_if_changed()


@pytest.mark.timeout(300)
def test_the_official_client_lists_models_chats_and_streams(llamas):
    client = openai.OpenAI(base_url=f"{llamas.router}/v1", api_key="none", max_retries=0, timeout=60)
    assert [model.id for model in client.models.list()] == [MODEL]
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=8, temperature=0)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens > 0
    answer = client.chat.completions.create(model=MODEL, messages=CAPITAL, temperature=0)
    assert (answer.choices[0].finish_reason, "Paris" in answer.choices[0].message.content) == ("stop", True)
    events = list(
        client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=8, temperature=0, stream=True)
    )
    assert "".join(event.choices[0].delta.content or "" for event in events if event.choices)


@pytest.mark.timeout(300)
@pytest.mark.long
def test_a_killed_server_ends_no_answer(llamas):
    await_proofs(llamas)
    streams = [Stream(llamas), Stream(llamas)]
    wait_until(lambda: all(stream.events for stream in streams), timeout=60, description="a stream on each server")
    assert _in_flight(llamas) == {"llama1-server": 1, "llama2-server": 1}
    with Traffic(llamas.router, MODEL, max_tokens=4, stop=["unsaid"]) as traffic:
        wait_until(lambda: traffic.answered > 4, timeout=60, description="traffic")
        killed = llamas.pid("llama1:server")
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: llamas.routed() == {"llama2-server"}, description="the router to leave it out")
        wait_until(
            lambda: llamas.pid("llama1:server") not in (0, killed),
            timeout=20,
            description="supervisord to start it again",
        )
        wait_until(
            lambda: llamas.routed() == {"llama1-server", "llama2-server"}, timeout=60, description="it to rejoin"
        )
        mark = traffic.answered
        wait_until(lambda: traffic.answered > mark + 8, timeout=60, description="traffic on both")
    assert traffic.failures == []
    for stream in streams:
        *events, done = stream.end()
        assert done == "[DONE]"
        assert not any("error" in json.loads(event) for event in events)
        assert len({json.loads(event)["id"] for event in events}) == 1
    metrics = http.get(f"{llamas.router}/metrics", timeout=30).text
    assert re.search(r'^svc_router_resumed_total\{outcome="resumed",reason="broken"\} 1\.0$', metrics, re.M)
    wait_until(
        lambda: llamas.supervisord.processes()["llama1:server"].state == "RUNNING",
        description="supervisord to believe it",
    )
    rows = json.loads(llamas.svc("status", "--json")[0])["programs"]
    assert {row["name"]: row["restarts"] for row in rows if row["name"].endswith(":server")} == {
        "llama1:server": 1,
        "llama2:server": 0,
    }


@pytest.mark.timeout(120)
def test_svc_llama_starts_ends_and_reports_why_it_cannot_start(tmp_path):
    port = free_port()
    command = [str(BIN / "svc"), "llama", "--port", str(port), "--alias", "gemma", "--threads", "1", "--embeddings"]
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        first = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        stack.callback(first.kill)
        wait_until(lambda: _answers(f"{url}/health"), timeout=60, description="it to answer")
        assert [model["id"] for model in http.get(f"{url}/v1/models", timeout=5).json()["data"]] == ["gemma"]
        embedded = http.post(f"{url}/v1/embeddings", json={"input": ["Hello", "Hello", "Goodbye"]}, timeout=60).json()
        first_vector, same, other = (item["embedding"] for item in embedded["data"])
        assert first_vector == pytest.approx(same, abs=0.01)
        assert first_vector != pytest.approx(other, abs=0.01)
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert second.returncode == 1
        assert f"svc llama: llama.cpp cannot serve at 127.0.0.1:{port}" in second.stderr
        assert "Traceback" not in second.stderr
        stream = http.post(
            f"{url}/v1/completions", json={"prompt": "Once", "n_predict": 9999, "stream": True}, stream=True
        )
        next(stream.iter_lines())
        first.send_signal(signal.SIGINT)
        assert first.wait(5) == 0, "Ctrl-C, in the middle of an answer"


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_suspended_server_is_detected_by_a_probe_of_one_token(site):
    port = free_port_pair()
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--alias", MODEL, "--threads", "1", "--ctx-size", "1024"]
    site.toml(
        "q",
        port,
        f'command = "svc llama"\nargs = {arguments!r}',
        probe='"generate"',
        probe_interval=1,
        probe_timeout=5,
        probe_threshold=1,
        restart_delay=0,
    )
    site.svc("up", timeout=180)

    def info():
        return http.get(f"http://127.0.0.1:{port + 1}/info", timeout=30).json()

    def predicted():
        text = http.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        return int(re.search(r"^llamacpp:tokens_predicted_total (\d+)", text, re.M)[1])

    def probes():
        text = http.get(f"http://127.0.0.1:{port + 1}/metrics", timeout=30).text
        return int(float(re.search(r'svc_babysitter_probes_total{result="generated"} (\S+)', text)[1]))

    wait_until(lambda: info()["continues"], timeout=60, description="the continuation probe, of more tokens, has ended")
    answered, tokens = probes(), predicted()
    wait_until(lambda: probes() >= answered + 2, timeout=60, description="probes are answered")
    before, between, after = probes() - answered, predicted() - tokens, probes() - answered
    assert before - 1 <= between <= after + 1  # a token each
    assert site.chat(MODEL, max_tokens=8).ok
    killed = site.pid("q:server")
    os.kill(killed, signal.SIGSTOP)
    wait_until(
        lambda: site.service("q-server").get("status") == "draining",
        timeout=60,
        description="the registry has the new state",
    )
    wait_until(lambda: not site.routed(), description="the router to leave it out")
    os.kill(killed, signal.SIGCONT)  # it may hear its SIGTERM, which saves half a minute
    wait_until(lambda: site.pid("q:server") not in (0, killed), timeout=60, description="supervisord to start it again")
    wait_until(lambda: site.routed() == {"q-server"}, timeout=60, description="it to rejoin")
    assert info()["restart_reason"] == "hung: no token within 5 s (1 in a row)"
    assert site.chat(MODEL, max_tokens=8).ok
    assert "last restart: hung: no token within 5 s" in site.svc("status", status=None, COLUMNS="200")[0]


class Stream:
    """A long answer, read while it arrives."""

    def __init__(self, site: Site) -> None:
        self.events: list[str] = []
        self._answer = site.chat(MODEL, stream=True, max_tokens=600, ignore_eos=True, stop=["unsaid"])
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def open(self) -> bool:
        return self._thread.is_alive()

    def end(self) -> list[str]:
        """Return all events; fail the test when none arrives for a minute, however slow the machine is."""
        while self.open():
            count = len(self.events)
            self._thread.join(60)
            assert not self.open() or len(self.events) > count, "the stream stands still"
        return self.events

    def _read(self) -> None:
        for line in self._answer.iter_lines(decode_unicode=True):
            if line.startswith("data: "):
                self.events.append(line[len("data: ") :])


def _in_flight(site: Site) -> dict[str, int]:
    services = http.get(f"{site.router}/services", timeout=5).json()["services"]
    return {service["name"]: service["in_flight"] for service in services}


def _answers(url: str) -> bool:
    try:
        return http.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False
