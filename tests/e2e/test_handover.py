"""`svc rollout restart --handover`: streams of half an hour move to the other instance, and none breaks."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import requests

from svc.client.router import RouterClient
from svc.mock.generation import echo_prompt
from tests.e2e.rollouts import pids
from tests.e2e.sites import Site, http
from tests.e2e.traffic import read_stream
from tests.waiting import wait_until

NAMES = ("one", "two")
TOKENS, TOKEN_DELAY_SECONDS = 900, 2  # a stream of half an hour
MAX_ROLLOUT_SECONDS = 60


class LongStream(threading.Thread):
    """A client that reads a stream to its end; `events` has all that came, once it has ended."""

    def __init__(self, site: Site, number: int) -> None:
        super().__init__(daemon=True)
        self.prompt = f"Stream {number}, count your words"
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": self.prompt}]}
        url = f"{site.router}/v1/chat/completions"
        self.response = requests.post(url, json=body, stream=True, timeout=120)
        self.events: Sequence[str] = ()
        self.start()

    def run(self) -> None:
        self.events = read_stream(self.response)

    def assert_whole(self) -> None:
        """Check that the events are those of one answer: each word came once, and all in their order."""
        assert self.events[-1:] == ["[DONE]"], self.events[-2:]
        events = [msgspec.json.decode(event) for event in self.events[:-1]]
        assert not [event for event in events if "error" in event]
        assert len({(event["id"], event["model"], event["created"]) for event in events}) == 1
        choices = [choice for event in events for choice in event["choices"]]
        assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]
        assert sum("role" in choice["delta"] for choice in choices) == 1
        text = "".join(choice["delta"].get("content") or "" for choice in choices)
        assert text in [echo_prompt(name, self.prompt, TOKENS, None, []).text for name in NAMES]


def start_pair(site: Site) -> None:
    """Start two instances that continue answers, and whose streams last half an hour until they restart."""
    for name in NAMES:
        site.mock(name, "m", "--tokens", str(TOKENS))
    site.svc("up")
    wait_until(lambda: all(_continues(site, name) for name in NAMES), 30, "the proof that both continue answers")
    for name in NAMES:
        url = f"{site.service(f'{name}-server')['url']}/mock/behave"
        assert http.post(url, json={"token_delay": TOKEN_DELAY_SECONDS}, timeout=5).ok


def _continues(site: Site, name: str) -> bool:
    return site.service(f"{name}-server").get("metadata", {}).get("continues") is True


def in_flight(site: Site) -> dict[str, int]:
    loads = RouterClient(site.router).instance_loads() or {}
    return {name: load.in_flight for name, load in loads.items()}


def open_streams(site: Site, count: int) -> list[LongStream]:
    streams = [LongStream(site, number) for number in range(count)]
    assert all(in_flight(site).values()), "each instance has streams"
    return streams


def assert_whole(streams: Sequence[LongStream]) -> None:
    for stream in streams:
        stream.join(60)
        stream.assert_whole()


def test_long_streams_move_and_a_stream_that_may_not_is_waited_for(site: Site, tmp_path: Path):
    start_pair(site)
    before, streams = pids(site, *NAMES), open_streams(site, 4)
    headers, output = {"X-No-Resume": "1"}, tmp_path / "out"
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Stay"}]}
    with (
        output.open("w") as out,
        requests.post(f"{site.router}/v1/chat/completions", json=body, headers=headers, stream=True, timeout=60),
    ):
        process = site.start("svc", "rollout", "restart", "m", "--handover", "1s", out=out)
        wait_until(lambda: ": 1 waited for (refused by the client: 1)" in output.read_text(), 60, "the reason")
        assert process.poll() is None
    assert process.wait(60) == 0
    lines = output.read_text().splitlines()
    assert set(lines) >= {f"{name}: its streams move to other instances now, after 1 s" for name in NAMES}, lines
    assert not set(before.values()) & set(pids(site, *NAMES).values())
    assert_whole(streams)


@pytest.mark.long
def test_a_rollout_under_a_hundred_long_streams_takes_less_than_a_minute(site: Site):
    start_pair(site)
    before, streams = pids(site, *NAMES), open_streams(site, 100)
    began = time.monotonic()
    out, _ = site.svc("rollout", "restart", "m", "--handover", "5s")
    seconds = time.monotonic() - began
    assert [f"{name}: its streams move to other instances now, after 5 s" in out for name in NAMES] == [True, True]
    assert "cut" not in out
    assert seconds < MAX_ROLLOUT_SECONDS
    assert not set(before.values()) & set(pids(site, *NAMES).values())
    assert_whole(streams)
    minutes = TOKENS * TOKEN_DELAY_SECONDS / 60
    print(f"{len(streams)} streams of {minutes:g} minutes: both instances restarted in {seconds:.1f} s")
