"""An instance that hands over: its streams move to an instance that continues them; other requests stay."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pytest
import requests

from svc.client.router import RouterClient
from svc.mock.generation import echo_prompt
from tests.integration.fakes import Mock, mock
from tests.integration.router.listed import Listed, listed
from tests.integration.router.registry import instance
from tests.waiting import wait_until

TOKENS = 2000
NAME = "mock"  # both have it, because a mock recognizes its own beginning of a completion by its name
PROMPT = "Tell me a story"


@pytest.fixture(scope="module")
def slow() -> Iterator[Mock]:
    """An instance whose streams last 100 seconds."""
    with mock(NAME, ["m"], tokens=TOKENS, token_delay=0.05) as made:
        yield made


@pytest.fixture(scope="module")
def fast() -> Iterator[Mock]:
    with mock(NAME, ["m"], tokens=TOKENS) as made:
        yield made


def tell(site: Listed, slow: Mock, fast: Mock, handover: bool, continues: bool, proven: bool = False) -> None:
    mark = {"drained": True, "handover": True, "is_healthy": False} if handover else {}
    site.tell(
        instance("slow", slow.port, "m", metadata={"babysitter": slow.url, "continues": proven}, **mark),
        instance("fast", fast.port, "m", metadata={"babysitter": fast.url, "continues": continues}),
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
        expected = echo_prompt(NAME, PROMPT, TOKENS, None, []).text
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


def lasting_requests() -> list[tuple[str, dict[str, object]]]:
    """Return a request for a long stream in each form of the API."""
    chat = {"model": "m", "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    return [
        ("/v1/chat/completions", {**chat, "stream_options": {"include_usage": True}}),
        ("/v1/completions", {"model": "m", "stream": True, "prompt": PROMPT}),
        ("/v1/messages", {**chat, "max_tokens": 2 * TOKENS}),
    ]


def read_events(response: requests.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines(chunk_size=1):
        if line.startswith(b"data: ") and line != b"data: [DONE]":
            yield json.loads(line[6:])


def received_text(data: list[dict[str, Any]]) -> str:
    parts = (event.get("delta", {}).get("text") or _choice_text(event) for event in data)
    return "".join(parts)


def _choice_text(event: dict[str, Any]) -> str:
    choices = event.get("choices") or [{}]
    return choices[0].get("text") or choices[0].get("delta", {}).get("content") or ""


def list_both(site: Listed, slow: Mock, fast: Mock, drained: str) -> None:
    """List both instances, of which one hands over."""
    mark = {"drained": True, "handover": True, "is_healthy": False}
    proofs = {"continues": True, "continues_messages": True}
    site.tell(
        *(
            instance(
                name, made.port, "m", metadata={"babysitter": made.url, **proofs}, **(mark if name == drained else {})
            )
            for name, made in (("slow", slow), ("fast", fast))
        )
    )


def test_streams_go_to_and_fro_as_often_as_their_instances_hand_over(slow: Mock, fast: Mock):
    """More often than a request is tried at failing instances, and without a restart of the instances."""
    fast.behave(token_delay=0.05)
    with listed() as site:
        client = RouterClient(site.router.url)
        list_both(site, slow, fast, "fast")
        wait_until(lambda: not client.instance_loads()["fast"].is_up, description="the drain")
        streams = [
            read_events(requests.post(f"{site.router.url}{path}", json=body, stream=True, timeout=60))
            for path, body in lasting_requests()
        ]
        begun = [list(islice(stream, 20)) for stream in streams]  # so much that the mock recognizes it in a prompt
        for left, taken in (("slow", "fast"), ("fast", "slow")) * 2:
            list_both(site, slow, fast, left)
            wait_until(lambda name=taken: client.instance_loads()[name].in_flight == len(streams), description=taken)
        fast.behave(token_delay=0)
        list_both(site, slow, fast, "slow")
        expected = echo_prompt(NAME, PROMPT, TOKENS, None, []).text
        for first_events, stream in zip(begun, streams, strict=True):
            events = [*first_events, *stream]
            assert received_text(events) == expected
            usages = [event["usage"] for event in events if event.get("usage")]
            if usages:
                assert TOKENS in (usages[-1].get("completion_tokens"), usages[-1].get("output_tokens"))
        resumed = f'svc_router_resumed_total{{outcome="resumed",reason="handover"}} {5 * len(streams)}.0'
        assert resumed in site.router.get("/metrics").text


def test_streams_wait_for_a_place_at_an_instance_that_is_full(slow: Mock, fast: Mock):
    """The streams move one after the other, as the ones before them end, and none breaks."""
    metadata = {"babysitter": fast.url, "continues": True, "max_concurrency": 1}
    mark = {"drained": True, "handover": True, "is_healthy": False}
    with listed("--queue-timeout", 1) as site:
        own = {"babysitter": slow.url}
        site.tell(instance("slow", slow.port, "m", metadata=own))
        streams = [open_stream(site) for _ in range(3)]
        site.tell(
            instance("slow", slow.port, "m", metadata=own, **mark),
            instance("fast", fast.port, "m", metadata=metadata),
        )
        expected = echo_prompt(NAME, PROMPT, TOKENS, None, []).text
        with ThreadPoolExecutor() as clients:
            assert list(clients.map(text_of, streams)) == [expected] * 3


def test_a_stream_that_no_other_instance_continues_goes_back_and_stays(slow: Mock):
    """The other instance is registered as one that continues answers, but refuses this one."""
    with mock("refusing", ["m"], final_message="refuse") as refusing, listed() as site:
        site.tell(instance("slow", slow.port, "m", metadata={"babysitter": slow.url, "continues": True}))
        stream = open_stream(site)
        lines = stream.iter_lines()
        next(lines)
        tell(site, slow, refusing, handover=True, continues=True, proven=True)
        client = RouterClient(site.router.url)
        wait_until(
            lambda: client.requests_in_flight().handovers == {"slow": {"failed": 1}}, description="the stream to stay"
        )
        later = [next(lines) for _ in range(40)]
        assert not [line for line in later if b"error" in line]
        stream.close()
