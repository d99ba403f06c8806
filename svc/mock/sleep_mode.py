"""The sleep mode of vLLM: an engine that is asleep runs on, but gives its GPU memory back.

vLLM has these endpoints with `--enable-sleep-mode` and VLLM_SERVER_DEV_MODE=1. `POST /sleep` aborts the requests in
flight and returns when the memory is free, `POST /wake_up` returns when the engine works again; `/health` is fine all
the time. A vLLM that is asleep keeps new requests waiting; older versions crash (vLLM's issue 15483). The mock refuses
them instead, so that a test notices each request that should not have reached it. Only level 1 is simulated, from which
an engine wakes up without loading its weights anew.
"""

import sys
from collections.abc import Callable
from urllib.parse import parse_qs

from svc.base.errors import BadRequest, SvcError, Unavailable
from svc.mock.engine_memory import EngineMemory
from svc.mock.gpu_state import OutOfMemory
from svc.mock.request_reply import Methods, MockRequest, Reply, json_reply


class MockSleepMode:
    """Whether the engine of a mock sleeps. `crash()` ends the process, as an engine does if it cannot wake up."""

    def __init__(
        self, memory: EngineMemory, wake_seconds: float, clock: Callable[[], float], crash: Callable[[], None]
    ) -> None:
        self.memory = memory
        self.wake_seconds = wake_seconds
        self.clock = clock
        self.crash = crash
        self.sleeps = 0  # the number of times that the engine went to sleep
        self._awake_at: float | None = 0.0  # when the engine is awake again; None: asleep, and no wake has begun

    @property
    def is_sleeping(self) -> bool:
        """Return whether the engine sleeps or has not woken up completely."""
        return self._awake_at is None or self.clock() < self._awake_at

    def refuse_request(self) -> None:
        """Raise Unavailable if the engine sleeps."""
        if self.is_sleeping:
            raise Unavailable("the engine is asleep; wake it with POST /wake_up", code="engine_asleep")

    def sleep(self, request: MockRequest) -> Reply:
        """Free the GPU memory. The caller aborts the requests in flight when `sleeps` has changed."""
        if (level := parse_qs(request.query).get("level", ["1"])[-1]) != "1":
            raise BadRequest(f"cannot sleep at level {level}: the mock has level 1 only")
        if self._awake_at is not None:
            self._awake_at = None
            self.sleeps += 1
            self.memory.offload()
        return EMPTY_REPLY

    def wake_up(self, request: MockRequest) -> Reply:
        """Take the GPU memory again and reply when the engine works; several wake-ups at once take as long as one."""
        if self._awake_at is None:
            try:
                self.memory.take("wake")
            except OutOfMemory as error:
                print(error, file=sys.stderr, flush=True)
                self.crash()
                raise SvcError(str(error), code="engine_dead") from None
            self._awake_at = self.clock() + self.wake_seconds
        request.connection.pause(max(0.0, self._awake_at - self.clock()))
        return EMPTY_REPLY

    def report(self, request: MockRequest) -> Reply:
        return json_reply({"is_sleeping": self.is_sleeping})


EMPTY_REPLY = Reply(content_type="text/plain; charset=utf-8")
SLEEP_ROUTES: dict[str, Methods[MockSleepMode]] = {
    "/sleep": {"POST": MockSleepMode.sleep},
    "/wake_up": {"POST": MockSleepMode.wake_up},
    "/is_sleeping": {"GET": MockSleepMode.report},
}
