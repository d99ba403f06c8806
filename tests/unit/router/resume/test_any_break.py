"""Any text, broken as often as one likes, reaches the client as it was generated, in a stream that it can parse."""

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from svc.router.http.sse import last_end
from svc.router.resume.continuation import Continuation
from svc.router.resume.continued_events import ContinuedEvents
from svc.router.resume.dialect import Dialect
from svc.router.resume.partial_answer import PartialAnswer
from tests.unit.router.resume.broken_streams import rest_of_stream
from tests.unit.router.resume.engines import (
    Client,
    LlamaCpp,
    LlamaCppCompletions,
    Sglang,
    Spaced,
    Vllm,
    VllmCompletions,
    VllmMessages,
)

few = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
ENGINES = [Vllm(usage=True), Sglang(), LlamaCpp(), LlamaCppCompletions(), VllmCompletions(), VllmMessages(), Spaced()]
# Halves of surrogate pairs are tested apart; thoughts in a text are not continued.
characters = st.one_of(st.sampled_from(' \n\t"\\é漢😀\r\u2028\u00a0\x00'), st.characters(exclude_categories=["Cs"]))
words = st.lists(st.text(characters, max_size=6), max_size=12).filter(lambda words: "<" not in "".join(words))


@few
@given(st.sampled_from(ENGINES), words, st.lists(st.floats(0, 1), min_size=1, max_size=4), st.integers(1, 400))
def test_every_character_comes_once_however_often_the_stream_breaks(engine, words, breaks, size):
    stream, passed = engine.stream(words), b""
    partial = PartialAnswer(engine.dialect)
    for part in breaks:
        cut = int(part * len(stream))
        for start in range(0, cut, size):
            partial.feed(stream[start : min(start + size, cut)])
        partial.drop_unended()
        passed += stream[: last_end(stream[:cut])]
        stream, reason = rest_of_stream(engine, words, partial)
        assert reason in ("", "ended")
    client, uncut = Client(passed + stream), Client(engine.stream(words))
    assert client.text == uncut.text
    assert (client.roles, client.dones, client.finishes) == (uncut.roles, 1, uncut.finishes)
    assert len(client.ids) == 1


@few
@given(st.sampled_from(list(Dialect)), st.binary(max_size=300), st.integers(1, 50))
def test_whatever_an_instance_sends_is_read_without_an_exception(dialect, noise, size):
    partial = PartialAnswer(dialect)
    for start in range(0, len(noise), size):
        partial.feed(noise[start : start + size])
    events = ContinuedEvents(partial, Continuation(b"{}", tokens=3))
    events.add(noise)
    events.take_rest()


NAMES = ("choices", "delta", "content", "role", "index", "usage", "type", "message", "finish_reason", "text", "error")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "stop", "text_delta", "text", "error"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@few
@given(st.sampled_from(list(Dialect)), st.lists(json_values, max_size=4))
def test_events_of_any_shape_are_read_or_refused(dialect, values):
    stream = b"".join(b"data: %b\n\n" % msgspec.json.encode(value) for value in values)
    partial = PartialAnswer(dialect)
    partial.feed(stream)
    ContinuedEvents(partial, Continuation(b"{}", tokens=3)).add(stream)
