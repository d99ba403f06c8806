"""Streams of every engine are cut at every byte: the client never notices, and gets each character once."""

import json

import pytest

from svc.router.http.sse import last_end
from svc.router.resume.continuation import continuation
from svc.router.resume.continued_events import ContinuedEvents
from svc.router.resume.dialect import Dialect
from svc.router.resume.eligibility import why_not
from svc.router.resume.ending import ending
from svc.router.resume.partial_answer import PartialAnswer
from tests.unit.router.resume.engines import (
    PROMPT_TOKENS,
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


def request_of(engine: Engine, **more: object) -> bytes:
    fields: dict[str, object] = {"model": "m", "stream": True, **more}
    if engine.usage:
        fields["stream_options"] = {"include_usage": True}
    if engine.dialect is Dialect.COMPLETIONS:
        return json.dumps({**fields, "prompt": "Tell me: "}).encode()
    return json.dumps({**fields, "messages": [{"role": "user", "content": "Tell me"}]}).encode()


def text_in(body: bytes, dialect: Dialect) -> str:
    """Return the beginning of the answer that a request contains."""
    fields = json.loads(body)
    if dialect is Dialect.COMPLETIONS:
        return fields["prompt"].removeprefix("Tell me: ")
    last = fields["messages"][-1]
    assert [message["role"] for message in fields["messages"]].count("assistant") <= 1
    if last["role"] != "assistant":
        return ""
    assert fields.get("continue_final_message", True)
    return last["content"]


def rest_of(text: str) -> list[str]:
    """Return the words that follow the text, the first of them without what the text has of it."""
    words = list(WORDS)
    while text:
        word = words.pop(0)
        if not text.startswith(word):
            assert word.startswith(text)
            return [word[len(text) :], *words]
        text = text[len(word) :]
    return words


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
        continued, reason = rest_of_stream(engine, partial)
        if reason:
            reasons.append(reason)
        else:
            assert_same(Client(whole[:passed] + continued), uncut, engine)
    assert set(reasons) == {"ended"} | engine_reasons(engine)


def engine_reasons(engine: Engine) -> set[str]:
    return {"tool_call"} if engine.call else {"reasoning"} if engine.reasoning else set()


def rest_of_stream(engine: Engine, partial: PartialAnswer) -> tuple[bytes, str]:
    """Return what the client gets after a break, or why it gets nothing."""
    body = request_of(engine)
    if partial.ended:
        return b"", "ended"
    if end := ending(engine.dialect, body, partial, PROMPT_TOKENS):
        return end, ""
    if reason := why_not(engine.dialect, body, partial, 1 << 20):
        return b"", reason
    request = continuation(engine.dialect, body, partial)
    beginning = text_in(request.body, engine.dialect)
    other = type(engine)(engine.usage, () if beginning else engine.reasoning, engine.call)
    events = ContinuedEvents(partial, request)
    rest = events.add(other.stream(rest_of(beginning), PROMPT_TOKENS + request.tokens, number=2))
    rest += events.take_rest()
    assert not events.failure
    return rest, ""


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
