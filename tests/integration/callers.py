"""The callers and outcomes of the tables in `test_callers`."""

import http.client
import json
from dataclasses import dataclass, field

REFUSED_STATUSES = (401, 403, 421)
NOT_FOUND = 404
JSON = {"Content-Type": "application/json"}
# What Chromium sends for a script of another origin, and for one on a name that was rebound to the server's address.
PAGE = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}
REBOUND = {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin", "Host": "evil.example", **JSON}


@dataclass(frozen=True)
class Caller:
    """One kind of caller: the address to which it connects, and the headers that it sends."""

    address: str = "127.0.0.1"
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))


def bearer(secret: str) -> dict[str, str]:
    return {**JSON, "Authorization": f"Bearer {secret}"}


def outcome(caller: Caller, port: int, method: str, path: str, body: bytes) -> str:
    """Return `yes` where the endpoint served the caller, `blind` where a browser hides the answer, else `no`."""
    connection = http.client.HTTPConnection(caller.address, port, timeout=10)
    try:
        connection.request(method, path, body if method != "GET" else None, caller.headers)
        answer = connection.getresponse()
        if answer.status in REFUSED_STATUSES or (answer.status == NOT_FOUND and is_not_relayed(answer.read())):
            return "no"
        is_foreign_page = "Origin" in caller.headers
        return "blind" if is_foreign_page and "Access-Control-Allow-Origin" not in answer.headers else "yes"
    finally:
        connection.close()


def is_not_relayed(body: bytes) -> bool:
    """Return whether the router keeps the path closed. Another 404 comes from the endpoint, which served the caller."""
    return json.loads(body)["error"]["code"] == "path_not_relayed"


@dataclass(frozen=True)
class Row:
    """One endpoint, and the outcome for each caller by its name."""

    method: str
    path: str
    outcomes: dict[str, str]


def rows(table: str) -> list[Row]:
    """Return the rows of a table; its first line names the callers, which are the columns behind method and path."""
    callers, *lines = [line.split() for line in table.strip().splitlines()]
    return [Row(method, path, dict(zip(callers, outcomes, strict=True))) for method, path, *outcomes in lines]
