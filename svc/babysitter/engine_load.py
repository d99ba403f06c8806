"""What else the instance is doing, as somebody counts it: tokens made, and requests being served.

1. The engine itself, at /metrics: vLLM, sglang (--enable-metrics), llama.cpp
   (--metrics), `svc mock`. Their names differ by a prefix, and some in the middle.
2. llama.cpp without that flag, at /slots.
3. The router, where its address is known: whole answers, which move less often.
"""

import json
import re
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import requests

from svc.babysitter.health_rules import NOTHING, Reading
from svc.base.http import fetch
from svc.protocol.engine_key import bearer

PATIENCE = 5.0  # seconds that an engine's answer may take
VALUE = r"(?:\{.*\})? (\S+)"
TOKENS = re.compile(
    rf"^[a-z]\w*[:_](?:generation_tokens|prompt_tokens|tokens_predicted|realtime_tokens|n_decode)_total{VALUE}", re.M
)
RUNNING = re.compile(
    r"^[a-z]\w*[:_](?:num_requests_running|num_requests_waiting|requests_processing|requests_deferred"
    rf"|num_running_reqs|num_queue_reqs){VALUE}",
    re.M,
)
SLOT = ("id", "id_task", "n_prompt_tokens_processed", "next_token")  # what changes in one as it works

Get = Callable[[str, float], str | None]


def get(url: str, timeout: float, key: str = "") -> str | None:
    """The text of a good answer, whatever the certificate; "" for any other answer, None for none.

    `key`: the upstream API key.
    """
    try:
        answer = fetch("GET", url, timeout, verify=False, headers=bearer(key))
    except requests.RequestException:
        return None
    return answer.text if answer.ok else ""


class Traffic:
    """`name` is the instance's at the router. `get` asks the instance, and the router unless `get_router` does."""

    def __init__(
        self, urls: Sequence[str], router_url: str, name: str, get: Get = get, get_router: Get | None = None
    ) -> None:
        self.urls = tuple(dict.fromkeys(urls))
        self.router_url = router_url
        self.name = name
        self.get = get
        self.get_router = get_router or get

    def read(self) -> Reading:
        ends = monotonic() + PATIENCE
        for url in self.urls:
            left = ends - monotonic()
            text = self.get(f"{url}/metrics", left) if left > 0 else None
            if text is None:
                continue
            told = of_engine(text) or of_slots(self.get(f"{url}/slots", PATIENCE) or "")
            if told:
                return told
            break
        if self.router_url:
            return of_router(self.get_router(f"{self.router_url}/metrics", PATIENCE) or "", self.name) or NOTHING
        return NOTHING


def of_engine(text: str) -> Reading | None:
    """From an engine's /metrics."""
    counters, running = TOKENS.findall(text), RUNNING.findall(text)
    if not counters:
        return None
    return Reading("engine", tuple(counters), sum(int(float(count)) for count in running) if running else None)


def of_slots(text: str) -> Reading | None:
    """From llama.cpp's /slots: a list of what each of its slots works on."""
    try:
        slots: list[dict[str, Any]] = json.loads(text) if text.startswith("[") else []
        marks = tuple(repr([slot.get(key) for key in SLOT]) for slot in slots)
        return Reading("slots", marks, sum(bool(slot["is_processing"]) for slot in slots)) if marks else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def of_router(text: str, name: str) -> Reading | None:
    """From the router's /metrics, which needs no key."""
    label = rf'\{{instance="{re.escape(name)}"\}} (\S+)$'
    answered = re.findall(rf"^svc_router_attempts_answered_total{label}", text, re.M)
    running = re.findall(rf"^svc_router_requests_in_flight{label}", text, re.M)
    return Reading("router", tuple(answered), int(float(running[0])) if running else None) if answered else None
