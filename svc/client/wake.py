"""Ask a babysitter about waking its instance on demand, and have it woken or put to sleep."""

from typing import Any

import msgspec

from svc.base.dial import AddressCheck
from svc.client import probe

WAKE_PATH, SLEEP_PATH = "/wake", "/sleep"
TIMEOUT_SECONDS = 2.0  # limit for a whole answer: a babysitter answers at once, and never waits for a load
MAX_ANSWER_BYTES = 64 << 10


def ask(url: str, key: str, verify: str | bool, check: AddressCheck | None) -> tuple[int, bytes]:
    """Ask the babysitter at `url` what it would cost to wake its instance; return the status and the body.

    The status is 0 if there is no answer in time. `key` is the instance's API key. Raise AddressRefused if `check`
    allows no address of the host.
    """
    return _send("GET", url + WAKE_PATH, key, verify, check)


def demand(
    url: str, key: str, verify: str | bool, check: AddressCheck | None, fields: dict[str, Any]
) -> tuple[int, bytes]:
    """Send `fields` as a demand that the babysitter at `url` wakes its instance, or keeps it awake; return as `ask`."""
    return _send("POST", url + WAKE_PATH, key, verify, check, fields)


def put_to_sleep(
    url: str, key: str, verify: str | bool, check: AddressCheck | None, fields: dict[str, Any]
) -> tuple[int, bytes]:
    """Have the babysitter at `url` put its instance to sleep; `fields` is the request's JSON. Return as `ask` does."""
    return _send("POST", url + SLEEP_PATH, key, verify, check, fields)


def _send(
    method: str,
    url: str,
    key: str,
    verify: str | bool,
    check: AddressCheck | None,
    fields: dict[str, Any] | None = None,
) -> tuple[int, bytes]:
    body = None if fields is None else msgspec.json.encode(fields)
    return probe.answer(
        url, TIMEOUT_SECONDS, verify, MAX_ANSWER_BYTES + 1, key, check, limit_total=True, method=method, body=body
    )
