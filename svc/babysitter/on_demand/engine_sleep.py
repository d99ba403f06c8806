"""vLLM's sleep mode: the engine keeps its weights in the host's memory, and frees the memory of the GPUs.

POST /sleep?level=1, POST /wake_up and GET /is_sleeping exist in a vLLM that was started with --enable-sleep-mode and
VLLM_SERVER_DEV_MODE=1.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from time import monotonic

from svc.babysitter.engine_status import Readiness

log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 120.0  # the weights of a large model are copied to the host's memory, or back
CHECK_TIMEOUT_SECONDS = 5.0
SLEEP, WAKE = "sleep", "wake"  # values of `busy`
PATHS = {SLEEP: "/sleep?level=1", WAKE: "/wake_up"}
CURE = 'set VLLM_SERVER_DEV_MODE = "1" in [backend.env] and "--enable-sleep-mode" in args, or remove sleep = "vllm"'
SLEEPING, WAKING = "it sleeps", "it wakes up"

Request = Callable[[str, str, float], tuple[int, str]]  # method, URL, timeout -> status (0: no answer), body


class EngineSleep:
    """Puts an engine to sleep and wakes it, in the background. The engine is at the first of `urls` that answers.

    `request` sends a request to the engine. Each request takes at most `timeout` seconds.
    """

    def __init__(self, urls: Sequence[str], request: Request, timeout: float = TIMEOUT_SECONDS) -> None:
        self.urls = tuple(dict.fromkeys(urls))
        self.busy = ""  # SLEEP or WAKE while such a request is in flight
        self._request = request
        self._timeout = timeout

    def begin(self, action: str, done: Callable[[str], None], prepare: Callable[[], object] = lambda: None) -> None:
        """Begin to put the engine to sleep, or to wake it; call `done` at the end, with the problem or with "".

        `prepare` is called before the request is sent, while `busy` is set. Do nothing while such a request is in
        flight.
        """
        if not self.busy:
            self.busy = action
            prepare()
            threading.Thread(target=self._run, args=(action, done), name=f"engine {action}", daemon=True).start()

    def before(self, check: Callable[[str, float], Readiness]) -> Callable[[str, float], Readiness]:
        """Return a check like `check` that reports an engine as not ready while it sleeps or wakes up.

        `check` alone does not notice this, because the engine lists its models even then.
        """

        def checked(url: str, timeout: float) -> Readiness:
            if self.busy == WAKE:
                return Readiness(reason=WAKING)
            return Readiness(reason=SLEEPING, sleeping=True) if self._is_sleeping(url, timeout) else check(url, timeout)

        return checked

    def _run(self, action: str, done: Callable[[str], None]) -> None:
        problem = "the babysitter failed"
        try:
            problem = self._send(action)
        finally:
            self.busy = ""
            done(problem)

    def _send(self, action: str) -> str:
        """Send the request. Return "" if the engine then is in the requested state, even if it has answered an error.

        Otherwise return the problem.
        """
        deadline, status, body = monotonic() + self._timeout, 0, ""
        for url in self.urls:
            remaining = deadline - monotonic()
            if status or remaining <= 0:
                break
            status, body = self._request("POST", url + PATHS[action], remaining)
        if 200 <= status < 300:
            return ""
        if any(self._is_sleeping(url, CHECK_TIMEOUT_SECONDS) for url in self.urls) == (action == SLEEP) and status:
            return ""
        return describe(action, status, body, self._timeout)

    def _is_sleeping(self, url: str, timeout: float) -> bool:
        status, body = self._request("GET", f"{url}/is_sleeping", timeout)
        try:
            answer = json.loads(body) if status == 200 else None
        except (ValueError, RecursionError):
            return False
        return isinstance(answer, dict) and answer.get("is_sleeping") is True


def describe(action: str, status: int, body: str, timeout: float) -> str:
    """Return why the engine has not fallen asleep or woken up, and what to do about it."""
    path = PATHS[action]
    if not status:
        return f"POST {path} got no answer (the limit is {timeout:g} s)"
    if status in (404, 405):
        return f"it has no {path} ({status}); {CURE}"
    text = " ".join(body.split())[:200]
    return f"POST {path} answers {status}{f': {text}' if text else ''}{f'; {CURE}' if action == SLEEP else ''}"
