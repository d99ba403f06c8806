import pytest

from svc.router.proxy.response_stream import MAX_HELD_BYTES, ResponseStream
from svc.router.telemetry.token_count import RECENT_EVENTS
from tests.unit.router.examples import Clock
from tests.unit.router.proxy.upstreams import event_stream

WORD = b'data: {"choices":[{"delta":{"content":"w"}}]}\n\n'
ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"completion_tokens":7}}\n\n'


def test_a_split_event_is_held_until_its_end_has_arrived():
    stream, sizes = ResponseStream(), []
    body = event_stream([b"wo\n\ndata: th", b"ree\n\n"])
    assert stream.whole_events(b"data: one\n\ndata: t", body, sizes.append) == b"data: one\n\n"
    assert (stream.held, sizes) == (b"data: t", [])
    assert stream.whole_events(b"", body, sizes.append) == b"data: two\n\n"
    assert stream.whole_events(b"", body, sizes.append) == b"data: three\n\n"
    assert (stream.held, sizes) == (b"", [12, 5])


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_the_end_of_an_event_may_itself_be_split(end: bytes):
    for at in range(1, len(end)):
        stream = ResponseStream()
        body = event_stream([end[at:] + b"data: b", b"x"])
        assert stream.whole_events(b"data: a" + end[:at], body, lambda size: None) == b"data: a" + end
        assert stream.held == b"data: b"


def test_the_body_ends_with_the_held_bytes():
    stream = ResponseStream()
    assert stream.whole_events(b"data: on", event_stream([b"e"]), lambda size: None) == b"data: one"
    assert stream.held == b""


def test_an_event_that_is_too_long_is_passed_on_in_parts():
    stream = ResponseStream()
    part = b"data: " + b"x" * MAX_HELD_BYTES
    assert stream.whole_events(part, event_stream([b"\n\n"]), lambda size: None) == part
    assert stream.held == b""


@pytest.mark.parametrize("held", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\n\n"])
def test_the_last_event_is_passed_on_with_an_empty_line(held: bytes):
    stream = ResponseStream()
    stream.held = held
    assert stream.is_complete()
    assert stream.take_rest(Clock()) == b"data: [DONE]\n\n"
    assert stream.take_rest(Clock()) == b""


def test_a_stream_is_incomplete_before_its_last_event():
    stream = ResponseStream()
    assert not stream.is_complete()
    stream.add(WORD, Clock())
    assert not stream.is_complete()
    stream.add(b"data: [DONE]\n\n", Clock())
    assert stream.is_complete()


def test_each_token_is_new_to_the_metrics_once():
    stream = ResponseStream()
    assert [stream.new_tokens(total) for total in (5, 5, 9, 3, 10)] == [5, 0, 4, 0, 1]


def test_the_last_events_of_a_running_stream_are_not_counted_yet():
    stream = ResponseStream()
    for _ in range(RECENT_EVENTS + 2):
        stream.add(WORD, Clock())
    assert stream.settled_tokens() == 2


def test_the_time_of_the_first_token_is_reported_once():
    stream, clock = ResponseStream(), Clock()
    stream.add(ROLE, clock)
    assert stream.new_first_token_at() == 0.0
    clock.now += 2
    stream.add(WORD, clock)
    clock.now += 2
    stream.add(WORD, clock)
    assert [stream.new_first_token_at() for _ in range(2)] == [1002.0, 0.0]


def test_the_excerpt_has_the_usage_at_the_end_of_a_long_stream():
    stream = ResponseStream()
    for _ in range(1000):
        stream.add(WORD, Clock())
    stream.add(USAGE, Clock())
    excerpt = stream.usage_excerpt()
    assert b'"completion_tokens":7' in excerpt
    assert len(excerpt) < 4096
