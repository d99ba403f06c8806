"""Streams of every engine are cut at every byte: the client never notices, and gets each character once."""

import pytest

from svc.router.http.sse import last_end
from svc.router.resume.partial_answer import PartialAnswer
from tests.unit.router.resume.broken_streams import rest_of_stream
from tests.unit.router.resume.engines import (
    WORDS,
    CarriageReturns,
    Client,
    Engine,
    LlamaCpp,
    LlamaCppCompletions,
    LlamaCppMessages,
    Sglang,
    Spaced,
    Vllm,
    VllmCompletions,
    VllmContinuousUsage,
    VllmMessages,
)

ENGINES = [
    Vllm(),
    Vllm(usage=True),
    Vllm(usage=True, reasoning=("Hm", "m.")),
    Vllm(call=True),
    VllmContinuousUsage(usage=True),
    Sglang(usage=True),
    Sglang(reasoning=("Hm", "m.")),
    LlamaCpp(),
    LlamaCpp(usage=True),
    LlamaCpp(usage=True, reasoning=("Hm", "m.")),
    LlamaCppCompletions(),
    VllmCompletions(usage=True),
    LlamaCppMessages(),
    VllmMessages(),
    Spaced(usage=True),
    CarriageReturns(),
]


def state_of(partial: PartialAnswer) -> tuple[object, ...]:
    names = (name for name in PartialAnswer.__slots__ if name not in ("_unended", "_pieces", "_reasoning"))
    return (partial.text, partial.reasoning, *(getattr(partial, name) for name in names))


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: f"{type(engine).__name__} {vars(engine)}")
def test_the_client_gets_the_whole_answer_wherever_the_stream_breaks(engine: Engine):
    whole = engine.stream(WORDS)
    uncut = Client(whole)
    bytewise, passed, reasons = PartialAnswer(engine.dialect), -1, []
    state: tuple[object, ...] = ()
    for cut in range(len(whole) + 1):
        bytewise.feed(whole[max(0, cut - 1) : cut])
        if (end := last_end(whole[:cut])) == passed:  # the router passes whole events
            assert state_of(bytewise) == state
            continue
        passed = end
        partial = PartialAnswer(engine.dialect)
        partial.feed(whole[:cut])
        partial.drop_unended()
        state = state_of(partial)
        assert state_of(bytewise) == state
        continued, reason = rest_of_stream(engine, WORDS, partial)
        if reason:
            reasons.append(reason)
        else:
            assert_same(Client(whole[:passed] + continued), uncut, engine)
    assert set(reasons) == {"ended"} | engine_reasons(engine)


def engine_reasons(engine: Engine) -> set[str]:
    return {"tool_call"} if engine.call else {"reasoning"} if engine.reasoning else set()


def assert_same(client: Client, uncut: Client, engine: Engine) -> None:
    assert client.text == uncut.text
    for name in ("reasoning", "finishes", "calls", "dones", "roles"):
        assert getattr(client, name) == getattr(uncut, name), name
    assert len(client.ids) == 1
    assert bool(client.usages) == bool(uncut.usages)
    if uncut.usages and not engine.call:
        assert client.usages[-1].get("prompt_tokens") == uncut.usages[-1].get("prompt_tokens")
        # A token may be cut in two by its white space; the last event's is not counted if only the end is missing.
        assert abs(tokens_of(client) - tokens_of(uncut)) <= 1


def tokens_of(client: Client) -> int:
    usage = client.usages[-1]
    return usage.get("completion_tokens", usage.get("output_tokens"))
