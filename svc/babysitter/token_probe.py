"""The question that only an engine at work can answer: one token, please."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import requests

from svc.babysitter.health_rules import Sign
from svc.base.http import fetch
from svc.protocol.engine_key import bearer

Post = Callable[[str, dict[str, Any], float], int]
WAYS: dict[str, Callable[[str], dict[str, Any]]] = {  # the cheapest question of each kind of server
    "/v1/chat/completions": lambda model: {
        "model": model,
        "messages": [{"role": "user", "content": "."}],
        "max_tokens": 1,
    },
    "/v1/completions": lambda model: {"model": model, "prompt": ".", "max_tokens": 1},
    "/v1/embeddings": lambda model: {"model": model, "input": "."},
    "/v1/rerank": lambda model: {"model": model, "query": ".", "documents": ["."]},
}


def post(url: str, body: dict[str, Any], timeout: float, key: str = "") -> int:
    """The status of the answer, which has been read whole; `key`: the upstream API key."""
    return fetch("POST", url, timeout, json=body, headers=bearer(key)).status_code


class Question:
    """Put to the first of `urls` that takes a connection, within `timeout` seconds in all.

    What a server does not do (no chat, an embedding model) it says at once, and is
    asked for the next kind; the one that worked is asked for first from then on.
    """

    def __init__(self, urls: Sequence[str], timeout: float, post: Post = post) -> None:
        self.urls = tuple(dict.fromkeys(urls))
        self.timeout = timeout
        self.post = post
        self._ways = list(WAYS)

    def put(self, model: str) -> tuple[Sign, str]:
        """What the answer shows, and why."""
        ends = monotonic() + self.timeout
        sign, why = Sign.REFUSED, "it does none of " + ", ".join(WAYS)
        for way in list(self._ways):
            try:
                status = self._ask(way, model, ends)
            except requests.Timeout:
                return Sign.SILENT, f"no token within {self.timeout:g} s"
            except requests.RequestException as error:
                refused = "refused" in str(error)
                return Sign.SILENT, "it refuses connections" if refused else "it closes the connection unanswered"
            if 200 <= status < 300:
                self._ways.sort(key=lambda one: one != way)
                return Sign.GENERATED, ""
            if status in (401, 403):
                return Sign.REFUSED, f"it answers {status}: see [backend] api_key_file"
            if status == 429:
                return Sign.BUSY, "it answers 429"
            if status >= 500 and status != 501:  # broken, or only for this way?
                sign, why = Sign.SILENT, f"it answers {status}"
        return sign, why

    def _ask(self, way: str, model: str, ends: float) -> int:
        refused: requests.ConnectionError | None = None
        for url in self.urls:
            if (left := ends - monotonic()) <= 0:
                break
            try:
                return self.post(url + way, WAYS[way](model), left)
            except requests.Timeout:
                raise
            except requests.ConnectionError as error:
                refused = refused or error
        raise refused or requests.Timeout
