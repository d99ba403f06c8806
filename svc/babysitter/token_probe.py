"""The token probe: a request for one token, which only a working engine can answer."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import requests

from svc.babysitter.health_rules import ProbeOutcome

Post = Callable[[str, dict[str, Any], float], int]  # takes URL, body and timeout; returns the status code
REQUEST_BODIES: dict[str, Callable[[str], dict[str, Any]]] = {  # path -> function from a model to the cheapest request
    "/v1/chat/completions": lambda model: {
        "model": model,
        "messages": [{"role": "user", "content": "."}],
        "max_tokens": 1,
    },
    "/v1/completions": lambda model: {"model": model, "prompt": ".", "max_tokens": 1},
    "/v1/embeddings": lambda model: {"model": model, "input": "."},
    "/v1/rerank": lambda model: {"model": model, "query": ".", "documents": ["."]},
}


class TokenProbe:
    """Requests a token from the first of `urls` that accepts a connection, within `timeout` seconds in all.

    If the engine refuses the request because it does not support the API (an embedding model has no chat), the next API
    is tried. An API that has worked is tried first from then on.
    """

    def __init__(self, urls: Sequence[str], timeout: float, post: Post) -> None:
        self.urls = tuple(dict.fromkeys(urls))
        self.timeout = timeout
        self.post = post
        self._paths = list(REQUEST_BODIES)

    def send(self, model: str) -> tuple[ProbeOutcome, str]:
        """Probe `model` and return the outcome, with a reason for any outcome other than GENERATED."""
        deadline = monotonic() + self.timeout
        outcome, reason = ProbeOutcome.REFUSED, "it does none of " + ", ".join(REQUEST_BODIES)
        for path in list(self._paths):
            try:
                status = self._post(path, model, deadline)
            except requests.Timeout:
                return ProbeOutcome.SILENT, f"no token within {self.timeout:g} s"
            except requests.RequestException as error:
                refused = "refused" in str(error)
                return (
                    ProbeOutcome.SILENT,
                    "it refuses connections" if refused else "it closes the connection unanswered",
                )
            if 200 <= status < 300:
                self._paths.sort(key=lambda other: other != path)
                return ProbeOutcome.GENERATED, ""
            if status in (401, 403):
                return ProbeOutcome.REFUSED, f"it answers {status}: see [backend] api_key_file"
            if status == 429:
                return ProbeOutcome.BUSY, "it answers 429"
            if status >= 500 and status != 501:  # this API may be broken, but the next one may work
                outcome, reason = ProbeOutcome.SILENT, f"it answers {status}"
        return outcome, reason

    def _post(self, path: str, model: str, deadline: float) -> int:
        refusal: requests.ConnectionError | None = None
        for url in self.urls:
            if (remaining := deadline - monotonic()) <= 0:
                break
            try:
                return self.post(url + path, REQUEST_BODIES[path](model), remaining)
            except requests.Timeout:
                raise
            except requests.ConnectionError as error:
                refusal = refusal or error
        raise refusal or requests.Timeout
