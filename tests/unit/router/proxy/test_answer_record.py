"""What a stream has passed on is kept as bytes, and folded into its text before it becomes much."""

import json

import pytest

from svc.router.balance.continuing_instances import FreePlaces
from svc.router.balance.routing_request import RoutingRequest
from svc.router.proxy.answer_record import FOLD_BYTES, MAX_UNFOLDED_BYTES, AnswerRecord
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.record_folding import MAX_FOLDS_PER_SWEEP, fold_records
from svc.router.proxy.response_stream import ResponseStream
from svc.router.proxy.resumption import Resumption
from svc.router.resume.dialect import Dialect
from tests.unit.router.examples import Clock, request, state, target

ROLE = b'data: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'


def word(text: str) -> bytes:
    return b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n' % text.encode()


def stream(fields: dict[str, object] | None = None) -> Exchange:
    """Return a streamed chat whose head has arrived from `a`; `b` continues answers."""
    instances = [target(name, "m", metadata={"models": ["m"], "continues": True}) for name in ("a", "b")]
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}], **(fields or {})})
    exchange = Exchange(state(*instances, clock=Clock()), request(body.encode()), "127.0.0.1")
    exchange.model, exchange.status, exchange.stream = "m", 200, ResponseStream()
    exchange.begin_attempt(instances[0])
    exchange.resumption = Resumption(exchange, exchange.stream, RoutingRequest("m", body=body.encode()), b"127.0.0.1")
    return exchange


def give(exchange: Exchange, *events: bytes) -> None:
    for event in events:
        assert exchange.passes(b"%x\r\n%b\r\n" % (len(event), event))


def why_it_stays(exchange: Exchange) -> str:
    return exchange.take_place(FreePlaces(exchange.state.balancer))


def record(exchange: Exchange) -> AnswerRecord:
    assert exchange.stream is not None
    assert exchange.stream.record is not None
    return exchange.stream.record


def test_chunks_and_read_events_become_one_text_once():
    made = AnswerRecord(Dialect.CHAT)
    made.add(ROLE + word("a"))
    made.chunks.append(b"%x\r\n%b\r\n" % (len(word("b")), word("b")))
    made.fold(300)
    made.add(word("c"))
    made.fold(400)
    made.fold(400)
    assert (made.partial.text, made.chunks) == ("abc", [])


def test_every_event_that_passes_is_in_the_record():
    exchange = stream()
    give(exchange, ROLE, *[word(f"w{n} ") for n in range(20)])
    assert why_it_stays(exchange) == ""
    assert record(exchange).partial.text == "".join(f"w{n} " for n in range(20))


def test_a_fast_stream_holds_no_more_than_its_limit():
    exchange = stream()
    most = 0
    for n in range(3000):
        give(exchange, word(f"w{n} "))
        most = max(most, sum(map(len, record(exchange).chunks)))
    assert MAX_UNFOLDED_BYTES / 2 < most < 64 << 10
    assert record(exchange).partial.text.startswith("w0 w1 ")


def test_the_sweep_folds_long_records_and_a_few_at_a_time():
    streams = [stream() for _ in range(MAX_FOLDS_PER_SWEEP + 1)]
    short = stream()
    give(short, word("w"))
    for exchange in streams:
        while exchange.body_bytes <= FOLD_BYTES:
            give(exchange, word("w"))
    fold_records([None, short, *streams])
    assert [bool(record(exchange).chunks) for exchange in streams] == [False] * MAX_FOLDS_PER_SWEEP + [True]
    assert record(short).chunks
    fold_records(streams)
    assert not any(record(exchange).chunks for exchange in streams)


@pytest.mark.parametrize(
    ("fields", "text", "reason"),
    [
        ({"response_format": {"type": "json_object"}}, "w", "structured_output"),
        ({}, "w" * 3_000_000, "too_long"),
        ({"messages": "not a list"}, "w", "not_supported"),
    ],
)
def test_the_record_of_an_answer_that_can_never_be_continued_is_dropped(
    fields: dict[str, object], text: str, reason: str
):
    exchange = stream(fields)
    for at in range(0, max(2 * MAX_UNFOLDED_BYTES, len(text)), 10_000):
        give(exchange, word(text[at : at + 10_000] or "w" * 10_000))
    assert exchange.stream is not None
    assert exchange.stream.record is None
    assert why_it_stays(exchange) == reason


def test_an_answer_without_text_may_go_on_anywhere_and_one_with_text_where_it_is_proven():
    exchange = stream()
    unproven = [target(name, "m", metadata={"models": ["m"]}) for name in ("a", "b")]
    exchange.state.replace_targets(unproven)
    give(exchange, ROLE)
    assert why_it_stays(exchange) == ""
    give(exchange, word("w"))
    assert why_it_stays(exchange) == "engine"


def test_without_a_stream_there_is_nothing_to_move():
    exchange = Exchange(state(target("a", "m"), clock=Clock()), request(b"{}"), "127.0.0.1")
    assert why_it_stays(exchange) == "not_supported"
