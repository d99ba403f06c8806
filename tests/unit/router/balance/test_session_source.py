"""What names the session of a request, in an explanation."""

import json

import pytest

from svc.router.balance.routing_request import parse
from svc.router.balance.session_source import session_source
from tests.unit.router.examples import request

JSON = (b"Content-Type", b"application/json")
SESSION = (b"X-Session-ID", b"1")
ADDRESS = {"x_forwarded_for": b"192.0.2.1, 10.0.0.1"}


@pytest.mark.parametrize(
    ("uri", "headers", "special", "body", "source"),
    [
        (b"/v1/chat/completions", [], {}, {}, ""),
        (
            b"/v1/responses",
            [(b"X-Session-ID", b"1")],
            ADDRESS,
            {"prompt_cache_key": "k"},
            "prompt_cache_key of the body",
        ),
        (b"/v1/messages", [], ADDRESS, {"metadata": {"user_id": "u"}}, "metadata.user_id of the body"),
        (b"/v1/messages", [SESSION], {}, {"metadata": {"user_id": "u"}}, "the header x-session-id"),
        (b"/v1/responses", [(b"Session_ID", b"2"), SESSION], {}, {}, "the header x-session-id"),
        (b"/v1/responses", [(b"X-OpenWebUI-Chat-Id", b"1")], ADDRESS, {}, "the header x-openwebui-chat-id"),
        (b"/v1/responses", [], ADDRESS, {}, "the first address of X-Forwarded-For, with User-Agent"),
    ],
)
def test_what_names_the_session(uri: bytes, headers: list, special: dict, body: dict, source: str):
    client_request = request(json.dumps({"model": "m", **body}).encode(), JSON, *headers, uri=uri, **special)
    assert session_source(client_request, parse(client_request).session) == source
