"""An instance that hands over: its streams move to an instance that continues them; other requests stay."""

import json
from collections.abc import Iterator

import pytest
import requests

from svc.client.router import RouterClient
from svc.mock.generation import echo_prompt
from tests.integration.fakes import Mock, mock
from tests.integration.router.listed import Listed, listed
from tests.integration.router.registry import instance
from tests.waiting import wait_until

TOKENS = 2000
PROMPT = "Tell me a story"


@pytest.fixture(scope="module")
def slow() -> Iterator[Mock]:
    """An instance whose streams last 100 seconds."""
    with mock("slow", ["m"], tokens=TOKENS, token_delay=0.05) as made:
        yield made


@pytest.fixture(scope="module")
def fast() -> Iterator[Mock]:
    with mock("fast", ["m"], tokens=TOKENS) as made:
        yield made


def tell(site: Listed, slow: Mock, fast: Mock, handover: bool, continues: bool) -> None:
    mark = {"drained": True, "handover": True, "is_healthy": False} if handover else {}
    urls = {made.name: {"babysitter": made.url} for made in (slow, fast)}
    site.tell(
        instance("slow", slow.port, "m", metadata=urls["slow"], **mark),
        instance("fast", fast.port, "m", metadata={**urls["fast"], "continues": continues}),
    )


def open_stream(site: Listed, **headers: str) -> requests.Response:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    return requests.post(f"{site.router.url}/v1/chat/completions", json=body, headers=headers, stream=True, timeout=60)


def text_of(response: requests.Response) -> str:
    """Return the text of a stream that must end well."""
    events = [line[6:] for line in response.iter_lines() if line.startswith(b"data: ")]
    assert events[-1] == b"[DONE]", events[-2:]
    choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@pytest.mark.parametrize("workers", [1, 2])
def test_streams_move_when_an_instance_continues_them_and_others_stay(slow: Mock, fast: Mock, workers: int):
    with listed("--workers", workers) as site:
        site.tell(instance("slow", slow.port, "m", metadata={"babysitter": slow.url}))
        client = RouterClient(site.router.url)
        streams = [open_stream(site) for _ in range(4)]
        refusing = open_stream(site, **{"X-No-Resume": "1"})
        assert client.requests_in_flight().handovers == {}

        tell(site, slow, fast, handover=True, continues=False)
        wait_until(lambda: client.requests_in_flight().handovers == {"slow": {"engine": 5}}, description="the reason")
        tell(site, slow, fast, handover=True, continues=True)
        expected = echo_prompt("slow", PROMPT, TOKENS, None, []).text
        assert [text_of(stream) for stream in streams] == [expected] * 4
        wait_until(
            lambda: client.requests_in_flight().handovers == {"slow": {"client_refuses": 1}}, description="the rest"
        )
        assert client.instance_loads()["slow"].in_flight == 1

        tell(site, slow, fast, handover=False, continues=True)
        wait_until(lambda: client.requests_in_flight().handovers == {}, description="the end of the handover")
        assert client.instance_loads()["slow"] == (True, 1), "the moved streams were no failures of the instance"
        assert 'svc_router_attempt_errors_total{instance="slow"} 0.0' in site.router.get("/metrics").text
        refusing.close()
