"""The response of a server to one request of the doctor, or the reason why there was no response."""

import dataclasses
from typing import Any

from svc.base.errors import message_of


@dataclasses.dataclass(frozen=True, slots=True)
class HttpResult:
    """The response to one request, or the reason why there is no response."""

    url: str
    status: int = 0  # 0: no response
    body: Any = None  # arbitrary JSON
    text: str = ""
    error: str = ""  # why there is no response
    version: str = ""  # the version of svc that sent the response
    clock_ahead: float | None = None  # seconds by which the server's clock is ahead of this machine's; None: unknown

    @property
    def ok(self) -> bool:
        return self.status == 200

    @property
    def problem(self) -> str:
        """The reason why there is no response, or the status and the message of the response."""
        if self.error:
            return self.error
        message = message_of(self.body)
        return f"it answers {self.status}{f': {message}' if message else ''}"

    def get(self, key: str, default: Any = None) -> Any:
        """Return a field of the body, or the default if the body is not a JSON object with this field."""
        return self.body.get(key, default) if isinstance(self.body, dict) else default
