"""Models on demand in whole sites: one start for many clients, real models in turns, and kills during a wake."""

import os
import signal
import threading
from contextlib import suppress

import pytest

from tests.client_libraries import openai
from tests.e2e.llamas import needs_llama
from tests.e2e.on_demand import add_llama, add_mock, chat_at_once, gpus, path_with, statuses
from tests.e2e.sites import http
from tests.waiting import free_port, wait_until

NAMES = ("ant", "bee")
CLIENTS = 200


@pytest.mark.long
def test_two_routers_and_200_clients_start_a_model_once(site):
    file = gpus(site)
    for name in NAMES:
        add_mock(site, file, name, "--load-time", "1")
    site.svc("up", PATH=path_with(file))
    port = free_port()
    second = site.start("svc", "router", "--router-port", str(port), "--registry-url", site.registry)
    try:
        wait_until(lambda: set(NAMES) <= models(port) and set(NAMES) <= models(site.router_port), 30, "both routers")
        for name in NAMES:  # the second one takes the place of the first
            answers = chat_at_once((site.router_port, port), name, CLIENTS)
            assert [answer[:15] for answer in answers] == [b"HTTP/1.1 200 OK"] * CLIENTS
        loads = [event["name"] for event in file.events() if event["event"] == "load"]
        assert loads == list(NAMES)
        assert [event for event in file.events() if event["event"] == "out_of_memory"] == []
    finally:
        second.terminate()
        second.communicate(timeout=30)


def models(port: int) -> set[str]:
    with suppress(OSError, ValueError):
        return {model["id"] for model in http.get(f"http://127.0.0.1:{port}/v1/models", timeout=5).json()["data"]}
    return set()


@pytest.fixture
def llamas(site):
    """Return a site with two real models on demand and room for one, which makes room for the other at once."""
    with (site.root / "config" / "svc.toml").open("a") as file:
        file.write("[on_demand]\nstay_factor = 1000\n")
    for name in NAMES:
        add_llama(site, name)
    site.svc("up", timeout=180)
    return site


class Conversation:
    """A conversation of OpenAI's client with one model."""

    def __init__(self, site, model: str) -> None:
        self.model = model
        self.messages: list[dict[str, str]] = []
        self.client = openai.OpenAI(base_url=f"{site.router}/v1", api_key="none", max_retries=5, timeout=120)

    def ask(self, text: str, stream: bool) -> str:
        """Ask something and return the answer, which is part of the conversation from now on."""
        self.messages.append({"role": "user", "content": text})
        options = {"model": self.model, "messages": self.messages, "max_tokens": 8, "temperature": 0}
        if stream:
            events = list(self.client.chat.completions.create(stream=True, **options))
            answer = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
        else:
            answer = self.client.chat.completions.create(**options).choices[0].message.content
        self.messages.append({"role": "assistant", "content": answer})
        return answer


@needs_llama
@pytest.mark.long
@pytest.mark.timeout(400)
def test_two_real_models_with_room_for_one_are_talked_to_in_turns(llamas):
    conversations = [Conversation(llamas, name) for name in NAMES]
    for stream in (False, True, False, True):
        for conversation in conversations:
            assert conversation.ask("What is the capital of France?", stream)
            awake = [name for name, status in statuses(llamas).items() if status == "running"]
            assert awake == [conversation.model]
    assert [len(conversation.messages) for conversation in conversations] == [8, 8]


@needs_llama
@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("program", ["bee:server", "bee:babysitter", "router", "registry"])
def test_a_kill_in_the_middle_of_a_wake_does_not_cost_the_answer(llamas, program, stream):
    assert Conversation(llamas, "ant").ask("Hello", stream=False)
    answers: list[str] = []
    client = threading.Thread(target=lambda: answers.append(Conversation(llamas, "bee").ask("Hello", stream)))
    client.start()
    wait_until(lambda: llamas.supervisord.processes()["bee:server"].pid, 60, "bee to load", interval=0.02)
    assert not answers
    os.kill(llamas.pid(program), signal.SIGKILL)
    client.join(timeout=200)
    assert answers
    assert answers[0]
