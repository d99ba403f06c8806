"""What a stream has given is counted while it goes on, and no token twice."""

import pytest

from svc.router.exchange import ASIDE, UNSURE, Exchange
from svc.router.record import UNKNOWN
from tests.unit.router.made import Clock, request, state, target

USAGE = b'data: {"usage":{"completion_tokens":%d}}\n\n'


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stream(clock: Clock) -> Exchange:
    """A stream from `a`, of the model m, that has been asked for and says nothing yet."""
    a = target("a", "m")
    made = Exchange(state(a, clock=clock), request(b"{}"), "127.0.0.1")
    made.model, made.events, made.status = "m", True, 200
    made.begin(a)
    return made


def give(stream: Exchange, *events: bytes) -> None:
    for event in events:
        assert stream.passes(b"%x\r\n%b\r\n" % (len(event), event))


def counted(stream: Exchange) -> tuple[int, int]:
    """Tokens of the instance and first tokens; those of the model are the same."""
    tally, meter = stream.state.tallies["a"], stream.state.recorder.meters["m"]
    assert (meter.produced, sum(meter.first_byte.counts)) == (tally.tokens, tally.firsts)
    assert meter.first_byte.sum == tally.first_seconds
    return tally.tokens, tally.firsts


def test_nothing_is_counted_before_the_first_token(stream: Exchange):
    stream.flow()
    assert counted(stream) == (0, 0)


def test_tokens_count_as_they_come_and_the_first_one_once(stream: Exchange, clock: Clock):
    clock.now += 0.25
    give(stream, b"data: x\n\n")
    stream.flow()
    assert counted(stream) == (0, 1)
    give(stream, *[b"data: x\n\n"] * 20)
    stream.flow()
    stream.flow()
    assert counted(stream) == (21 - UNSURE, 1)
    stream.close()
    assert counted(stream) == (21 - ASIDE, 1)
    assert stream.state.tallies["a"].first_seconds == 0.25


@pytest.mark.parametrize(("told", "tokens"), [(30, 30), (18, 18), (3, 21 - UNSURE)])
def test_the_usage_has_the_last_word_but_takes_nothing_back(stream: Exchange, told: int, tokens: int):
    give(stream, *[b"data: x\n\n"] * 21)
    stream.flow()
    give(stream, USAGE % told)
    stream.close()
    assert counted(stream) == (tokens, 1)


def test_a_short_stream_is_counted_at_its_end(stream: Exchange):
    give(stream, *[b"data: x\n\n"] * 4)
    stream.close()
    assert counted(stream) == (4 - ASIDE, 1)


def test_a_model_whose_instances_are_stopped_keeps_its_label(clock: Clock):
    made = Exchange(state(target("a", "m", status="stopped"), clock=clock), request(b"{}"), "127.0.0.1")
    made.model, made.status, made.end = "m", 503, "refused"
    made.close()
    assert made.state.recorder.meters["m"].statuses == {503: 1}


def test_what_clients_call_their_models_is_no_label(stream: Exchange):
    stream.model = "invented"
    give(stream, b"data: x\n\n")
    stream.flow()
    stream.close()
    assert list(stream.state.recorder.meters) == [UNKNOWN]
