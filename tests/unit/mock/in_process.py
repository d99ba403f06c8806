"""The mock's application without a server: a connection that records its calls, and a client."""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, NoReturn

from svc.mock.app import MockApplication
from svc.mock.backend_api import BackendApi
from svc.mock.behaviour import Behaviour, GpuOptions
from svc.mock.engine_memory import EngineMemory
from svc.mock.request_reply import CONNECTION_KEY, ClientLeft, CutByMock
from svc.mock.sleep_mode import MockSleepMode

NO_GPU = EngineMemory(GpuOptions(), "m", 1, None)


class FakeConnection:
    """Waits take no time; the client leaves at the first wait over `patience` seconds."""

    def __init__(self, patience: float = 1000) -> None:
        self.target = "/as/it/came"
        self.pauses: list[float | None] = []
        self.aborted: str | None = None
        self.patience = patience

    def headers(self) -> Iterable[tuple[str, str]]:
        return [("X-One", "1"), ("x-one", "2")]

    def pause(self, seconds: float | None) -> None:
        self.pauses.append(seconds)
        if seconds is None or seconds > self.patience:
            raise ClientLeft

    def abort(self, reset: bool) -> NoReturn:
        self.aborted = "reset" if reset else "closed"
        raise CutByMock


class InProcessMock:
    """A mock with a clock that stands still, and the parts of its last answer."""

    def __init__(self, memory: EngineMemory = NO_GPU, wake_seconds: float = 0, **behaviour: Any) -> None:
        self.now = 1000.0
        self.chance = 0.5
        self.exits: list[tuple[float | None, int]] = []
        self.connection = FakeConnection()
        self.status = ""
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []
        self.app = MockApplication(
            BackendApi("m", ("a", "b/c"), lambda: self.now),
            Behaviour(**behaviour),
            lambda: self.now,
            lambda: self.chance,
            lambda seconds, code: self.exits.append((seconds, code)),
            {"pid": 1},
            MockSleepMode(memory, wake_seconds, lambda: self.now, lambda: self.exits.append((0, 1))),
        )

    def call(self, method: str, target: str, body: Any = None) -> bytes:
        """Send a request and return the bytes that were sent, also those of an answer that was cut."""
        self.parts = []
        for part in self.begin(method, target, body):
            self.parts.append(part)
        return b"".join(self.parts)

    def begin(self, method: str, target: str, body: Any = None) -> Iterator[bytes]:
        """Send a request and return the parts of the answer, which ends where it was cut."""
        path, _, query = target.partition("?")
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(raw)),
            "wsgi.input": io.BytesIO(raw),
            CONNECTION_KEY: self.connection,
        }
        self.status, self.headers = "", {}
        with suppress(ClientLeft, CutByMock):
            yield from self.app(environ, self._start_response)

    def json(self, method: str, path: str, body: Any = None) -> Any:
        return json.loads(self.call(method, path, body))

    def stats(self) -> dict[str, Any]:
        return self.json("GET", "/mock/stats")

    def _start_response(self, status: str, headers: list[tuple[str, str]]) -> Callable[[bytes], None]:
        self.status, self.headers = status, dict(headers)
        return self.parts.append
