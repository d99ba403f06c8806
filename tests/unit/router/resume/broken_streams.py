"""Breaks an engine's stream and continues it as the router does, for tests."""

import json

from svc.router.resume.continuation import continuation
from svc.router.resume.continued_events import ContinuedEvents
from svc.router.resume.dialect import Dialect
from svc.router.resume.eligibility import why_not
from svc.router.resume.ending import ending
from svc.router.resume.partial_answer import PartialAnswer
from tests.unit.router.resume.engines import PROMPT_TOKENS, Engine


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


def rest_of(words: list[str], text: str) -> list[str]:
    """Return the words that follow the text, the first of them without what the text has of it."""
    words = list(words)
    while text:
        word = words.pop(0)
        if not text.startswith(word):
            assert word.startswith(text)
            return [word[len(text) :], *words]
        text = text[len(word) :]
    return words


def rest_of_stream(engine: Engine, words: list[str], partial: PartialAnswer) -> tuple[bytes, str]:
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
    rest = events.add(other.stream(rest_of(words, beginning), PROMPT_TOKENS + request.tokens, number=2))
    rest += events.take_rest()
    assert not events.failure
    return rest, ""
