"""Records of requests to test with."""

from typing import Any

from svc.router.telemetry.statistics import RequestRecord


def record(**changes: Any) -> RequestRecord:
    """Return the record of a request that was answered, with these changes."""
    fields: dict[str, Any] = {
        "id": "1",
        "client": "127.0.0.1",
        "key": "",
        "method": "POST",
        "path": "/v1/x",
        "model": "m",
        "instance": "a",
        "status": 200,
        "bytes": 2,
        "first_byte": 0.5,
        "duration": 1.5,
        "attempts": 1,
        "end": "done",
    }
    return RequestRecord(**(fields | changes))
