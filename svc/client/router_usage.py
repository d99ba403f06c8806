"""Ask a router for the usage of keys, users and models: requests, tokens and times."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import msgspec
import requests

from svc.base.address import is_loopback
from svc.base.errors import Forbidden, NotFound, SvcError, Unauthorized, Unavailable, message_of
from svc.base.http import fetch
from svc.client.router import unreachable
from svc.protocol.usage import UsageReport

USAGE_PATH = "/usage"
TIMEOUT_SECONDS = 60.0  # the sums of a year may take long
CORRECT_URL = "correct --router or ROUTER_URL"
NO_ROUTER = f"what answers at {{}} is no router, or is older than this command; {CORRECT_URL}"
USAGE_SETTING = "usage_file"  # part of the message of a router that does not count usage
CREDENTIALS = "pass a file with an operator's key as --key-file, or with the registry's token as --token-file"

_decode_report = msgspec.json.Decoder(UsageReport).decode


def fetch_usage(
    url: str, since: float, until: float, by: Sequence[str], headers: Mapping[str, str] | None = None
) -> UsageReport:
    """Return the usage from `since` to `until` (Unix seconds), summed by the dimensions `by`; raise SvcError.

    `headers` contain an operator's key or the registry's token.
    """
    query = {"since": repr(since), "until": repr(until), "by": ",".join(by)}
    try:
        answer = fetch(
            "GET",
            url + USAGE_PATH,
            TIMEOUT_SECONDS,
            params=query,
            headers=dict(headers or {}),
            verify=not is_loopback(urlsplit(url).hostname or ""),  # a certificate rarely names the loopback address
        )
        if answer.ok:
            return _decode_report(answer.content)
        content = answer.json()
    except requests.Timeout:
        raise Unavailable(f"the router does not answer in time at {url}") from None
    except (requests.exceptions.JSONDecodeError, msgspec.DecodeError):
        raise NotFound(NO_ROUTER.format(url)) from None
    except requests.RequestException as error:
        raise Unavailable(f"{unreachable(url, error)}; start it with 'svc up', or {CORRECT_URL}") from None
    raise _refusal(url, answer.status_code, message_of(content))


def _refusal(url: str, status: int, message: str) -> SvcError:
    if status == Unauthorized.status:
        return Unauthorized(f"the router at {url} shows its usage only to operators; {CREDENTIALS}")
    if status == Forbidden.status:
        return Forbidden(f"the router at {url} shows its usage only to operators; {CREDENTIALS}")
    if status == NotFound.status:
        return NotFound(f"{url}: {message}" if USAGE_SETTING in message else NO_ROUTER.format(url))
    return Unavailable(f"{url}: {message or f'answered {status}'}")
