"""What a stream gives is counted as it comes, no token twice; its bytes are progress, its last event is its end."""

import pytest

from svc.router.proxy.exchange import Exchange
from svc.router.proxy.exchange_report import count_running_stream
from svc.router.proxy.response_breaks import TruncatedResponse
from svc.router.proxy.response_stream import MAX_HELD_BYTES, ResponseStream
from svc.router.telemetry.statistics import UNKNOWN_MODEL
from svc.router.telemetry.token_count import RECENT_EVENTS
from tests.cpu import reference_cost
from tests.unit.router.examples import Clock, request, state, target
from tests.unit.router.proxy.upstreams import event_stream

WORD = b'data: {"choices":[{"delta":{"content":"w"}}]}\n\n'
ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
PING = b": ping\n\n"
START = b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"output_tokens":1}}}\n\n'
CREATED = b'event: response.created\ndata: {"type":"response.created","response":{}}\n\n'
USAGE = b'data: {"choices":[],"usage":{"completion_tokens":%d}}\n\n'
ENDS = (b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stream(clock: Clock) -> Exchange:
    """A stream from `a`, of the model m, that has been asked for and says nothing yet."""
    a = target("a", "m")
    exchange = Exchange(state(a, clock=clock), request(b"{}"), "127.0.0.1")
    exchange.model, exchange.stream, exchange.status = "m", ResponseStream(), 200
    exchange.begin_attempt(a)
    return exchange


def give(stream: Exchange, *events: bytes) -> None:
    for event in events:
        assert stream.passes(b"%x\r\n%b\r\n" % (len(event), event))


def counted(stream: Exchange) -> tuple[int, int]:
    """Tokens of the instance and first tokens; those of the model are the same."""
    tally, meter = stream.state.statistics.instances["a"], stream.state.statistics.models["m"]
    assert (meter.produced_tokens, sum(meter.time_to_first_token.counts)) == (tally.tokens, tally.first_tokens)
    assert meter.time_to_first_token.sum == tally.first_token_seconds
    return tally.tokens, tally.first_tokens


def test_nothing_is_counted_before_the_first_token(stream: Exchange):
    count_running_stream(stream)
    assert counted(stream) == (0, 0)


def test_tokens_count_as_they_come_and_the_first_one_once(stream: Exchange, clock: Clock):
    clock.now += 0.25
    give(stream, WORD)
    count_running_stream(stream)
    assert counted(stream) == (0, 1)
    give(stream, *[WORD] * 20)
    count_running_stream(stream)
    count_running_stream(stream)
    assert counted(stream) == (21 - RECENT_EVENTS, 1)
    give(stream, *ENDS)
    stream.close()
    assert counted(stream) == (21, 1)
    assert stream.state.statistics.instances["a"].first_token_seconds == 0.25


@pytest.mark.parametrize("before", [ROLE, PING, START, CREATED], ids=["role", "ping", "message_start", "created"])
def test_the_first_token_is_not_what_comes_before_it(stream: Exchange, clock: Clock, before: bytes):
    give(stream, *[before] * 10)
    count_running_stream(stream)
    assert counted(stream) == (0, 0)
    clock.now += 1.5
    give(stream, *[WORD] * 3)
    clock.now += 1.5
    give(stream, *ENDS)
    stream.close()
    assert counted(stream) == (3, 1)
    assert stream.state.statistics.instances["a"].first_token_seconds == 1.5


def test_a_stream_without_a_token_has_no_time_to_the_first(stream: Exchange):
    give(stream, ROLE, PING, *ENDS)
    stream.close()
    assert counted(stream) == (0, 0)


def test_events_that_arrive_together_are_counted_one_by_one(stream: Exchange):
    stream.upstream = event_stream([ROLE + WORD * 3, WORD * 4 + WORD[:9], WORD[9:] + b"".join(ENDS)])
    while not stream.finished():
        stream.read()
    stream.close()
    assert counted(stream) == (8, 1)


def test_a_stream_without_usage_is_counted_by_its_events(stream: Exchange):
    """Anthropic's message_start says 1, and only message_delta says how many there were."""
    give(stream, START, *[WORD] * 5)
    stream.close()
    assert counted(stream) == (5, 1)


@pytest.mark.parametrize(("usage_tokens", "tokens"), [(30, 30), (18, 18), (3, 21 - RECENT_EVENTS)])
def test_the_usage_has_the_last_word_but_takes_nothing_back(stream: Exchange, usage_tokens: int, tokens: int):
    give(stream, *[WORD] * 21)
    count_running_stream(stream)
    give(stream, USAGE % usage_tokens)
    stream.close()
    assert counted(stream) == (tokens, 1)


def test_a_short_stream_is_counted_at_its_end(stream: Exchange):
    give(stream, *[WORD] * 4)
    stream.close()
    assert counted(stream) == (4, 1)


def test_a_model_whose_instances_are_stopped_keeps_its_label(clock: Clock):
    exchange = Exchange(state(target("a", "m", status="stopped"), clock=clock), request(b"{}"), "127.0.0.1")
    exchange.model, exchange.status, exchange.end = "m", 503, "refused"
    exchange.close()
    assert exchange.state.statistics.models["m"].statuses == {503: 1}


def test_what_clients_call_their_models_is_no_label(stream: Exchange):
    stream.model = "invented"
    give(stream, WORD)
    count_running_stream(stream)
    stream.close()
    assert list(stream.state.statistics.models) == [UNKNOWN_MODEL]


# Bytes that are held.


def a_second_passes(stream: Exchange) -> None:
    stream.state.now += 1


def test_each_piece_of_a_long_event_postpones_the_idle_timeout(stream: Exchange):
    began = stream.state.now
    stream.upstream = event_stream([b"data: "] + [b"A"] * 500, on_read=lambda: a_second_passes(stream))
    while not stream.finished():
        stream.read()
    idle = stream.state.settings.idle_timeout
    assert stream.state.now > began + idle
    assert stream.deadline == stream.state.now + idle


def test_an_event_in_many_pieces_costs_linear_time(stream: Exchange):
    event = b"data: %b\n\n" % (b"A" * (MAX_HELD_BYTES - 100))
    pieces = [event[at : at + 64] for at in range(0, len(event), 64)]

    def read() -> None:
        stream.upstream = event_stream(pieces)
        assert stream.read() == event

    assert reference_cost(read, runs=1) < 50


# The connection ends after the last event.

STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
RESPONSE = b'event: response.%b\ndata: {"type":"response.%b","response":{"output":[]}}\n\n'
LAST = [ENDS[1], STOP, *[RESPONSE % (kind, kind) for kind in (b"completed", b"failed", b"incomplete")]]


@pytest.mark.parametrize("parts", ["unread", "read", "in pieces"])
@pytest.mark.parametrize("last", LAST, ids=["[DONE]", "message_stop", "completed", "failed", "incomplete"])
def test_a_close_after_the_last_event_is_the_end(stream: Exchange, last: bytes, parts: str):
    read = {"unread": [], "read": [last], "in pieces": [last[:9], last[9:]]}[parts]
    body = event_stream([WORD, *read], breaks=True)
    stream.upstream = body
    passed = stream.read()
    if parts == "unread":
        give(stream, last)
    while not stream.finished():
        passed += stream.read()
    assert passed == WORD + (b"" if parts == "unread" else last)
    stream.close()
    assert (stream.end, body.persistent, stream.state.statistics.instances["a"].errors) == ("done", False, 0)
    assert "a" not in stream.state.health.by_instance


@pytest.mark.parametrize("rest", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\n\n: pi"])
def test_a_last_event_without_its_empty_line_is_passed_on(stream: Exchange, rest: bytes):
    stream.upstream = event_stream([WORD, rest], breaks=True)
    passed = b""
    while not stream.finished():
        passed += stream.read()
    assert passed == WORD + rest.rstrip(b"\n") + b"\n\n"  # clients drop an event without its empty line


@pytest.mark.parametrize("rest", [WORD, b"data: [DON", LAST[2][:-9], b"event: message_stop\n"])
def test_a_close_before_the_last_event_is_whole_is_a_failure(stream: Exchange, rest: bytes):
    stream.upstream = event_stream([WORD, rest], breaks=True)
    passed = b""
    while not stream.finished():
        passed += stream.read()
    assert b'"error"' in passed
    stream.close()
    assert (stream.end, stream.state.statistics.instances["a"].errors) == ("cut", 1)


def test_the_error_event_does_not_become_part_of_a_long_event(stream: Exchange):
    part = b"data: " + b"A" * (MAX_HELD_BYTES + 1)
    stream.upstream = event_stream([part], breaks=True)
    assert stream.read() == part
    assert stream.read().startswith(b'\n\ndata: {"error"')


@pytest.mark.parametrize("parts", [[b"four"], [b"si", b"x by", b"tes"], [b"fo", b"ur"]])
def test_a_response_of_the_wrong_length_is_truncated(parts: list[bytes], stream: Exchange):
    body = event_stream(parts)
    body.length = 5  # although no parser gives a body of another length
    stream.stream, stream.upstream = None, body
    with pytest.raises(TruncatedResponse, match="its head says 5"):
        list(iter(stream.read, b""))
    assert not body.persistent
    assert stream.end == "cut"
