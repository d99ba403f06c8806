import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc.router.http.request import Request, RequestHead
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.stream_usage import StreamWithoutUsage, request_usage
from tests.unit.router.examples import state

ROUTER = state()
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":null}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}\n\n'
DONE = b"data: [DONE]\n\n"


def asked(body: bytes, uri: bytes = b"/v1/chat/completions", kind: bytes = b"application/json") -> Exchange:
    """Return the exchange of a request after the router may have asked for the usage."""
    head = RequestHead(b"POST", uri, [(b"Content-Type", kind)], {})
    exchange = Exchange(ROUTER, Request(head, body), "127.0.0.1")
    request_usage(exchange)
    return exchange


@pytest.mark.parametrize(
    "body",
    [
        {"stream": True},
        {"model": "m", "stream": True, "stream_options": None},
        {"model": "m", "stream": True, "stream_options": {}},
        {"model": "m", "stream": True, "stream_options": {"include_usage": False, "x": [1, {"y": 2}]}},
        {"model": "m", "messages": [{"content": '"stream_options":{}'}], "stream": True},
    ],
)
def test_streams_are_asked_for_their_usage(body: dict[str, object]):
    for encode in (msgspec.json.encode, lambda value: json.dumps(value, indent=2).encode()):
        exchange = asked(encode(body))
        options = {**(body.get("stream_options") or {}), "include_usage": True}
        assert json.loads(exchange.request.body) == {**body, "stream_options": options}
        assert exchange.hides_usage


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "m"}',
        b'{"stream": false}',
        b'{"stream": "true"}',
        b'{"stream": true, "stream_options": {"include_usage": true}}',
        b'{"stream": true, "stream_options": 5}',
        b'{"stream": true',
        b"",
        b"[]",
        b"\xff\xfe{\0",
    ],
)
def test_other_requests_stay_as_they_are(body: bytes):
    exchange = asked(body)
    assert exchange.request.body == body
    assert not exchange.hides_usage


@pytest.mark.parametrize(
    ("uri", "kind"),
    [(b"/v1/messages", b"application/json"), (b"/v1/chat/completions", b"multipart/form-data; boundary=x")],
)
def test_only_completions_are_asked(uri: bytes, kind: bytes):
    assert not asked(b'{"stream": true}', uri, kind).hides_usage


def test_the_usage_is_counted_and_not_passed_on():
    stream = StreamWithoutUsage()
    assert stream.add(WORD, lambda: 1.0) == WORD
    assert stream.add(WORD + USAGE + DONE, lambda: 1.0) == WORD + DONE
    assert b'"completion_tokens":5' in stream.usage_excerpt()
    assert stream.tokens.total() == 2


@pytest.mark.parametrize(
    "event",
    [
        USAGE,
        USAGE.replace(b"\n", b"\r\n"),
        USAGE.replace(b"\n", b"\r"),
        b'data: {"choices": [], "usage": {"prompt_tokens": 7}}\n\n',
        b'data: {"usage":{"prompt_tokens":7},"choices":[]}\n\n',
    ],
)
def test_the_event_is_removed_as_all_engines_write_it(event: bytes):
    assert StreamWithoutUsage().add(event, lambda: 1.0) == b""


@pytest.mark.parametrize(
    "event",
    [
        WORD,
        DONE,
        b'data: {"choices":[],"prompt_filter_results":[{}],"usage":null}\n\n',
        rb'data: {"choices":[{"delta":{"content":"\"choices\":[] \"usage\":{}"}}]}' + b"\n\n",
        b": ping\n\n",
    ],
)
def test_other_events_pass(event: bytes):
    assert StreamWithoutUsage().add(event, lambda: 1.0) == event


@given(st.lists(st.sampled_from([WORD, USAGE, DONE, b": x\r\n\r\n"]), max_size=8))
def test_events_are_removed_wherever_they_are(events: list[bytes]):
    passed = StreamWithoutUsage().add(b"".join(events), lambda: 1.0)
    assert passed == b"".join(event for event in events if event != USAGE)
