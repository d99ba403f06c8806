"""OpenAI's /v1/chat/completions and /v1/completions: an answer as one body or as a stream of events. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from svc.mock.generation import GeneratedAnswer, GeneratedChoice

encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class CompletionFormat:
    """The fields in which /chat/completions and /completions differ."""

    id_prefix: str
    object: str
    chunk_object: str
    message: Callable[[GeneratedChoice], dict[str, Any]]
    # `delta` takes a choice, a text, and whether that is the first text
    delta: Callable[[GeneratedChoice, str, bool], dict[str, Any]]
    last_delta: dict[str, Any]


def _message(choice: GeneratedChoice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.call:
        message |= {"content": None, "tool_calls": [_tool_call(choice, choice.text)]}
    return {"message": message}


def _delta(choice: GeneratedChoice, text: str, first: bool) -> dict[str, Any]:
    delta: dict[str, Any] = {"role": "assistant"} if first else {}
    if not choice.call:
        return {"delta": {**delta, "content": text}}
    call = _tool_call(choice, text) if first else {"function": {"arguments": text}}
    return {"delta": {**delta, "tool_calls": [{"index": 0, **call}]}}


def _tool_call(choice: GeneratedChoice, arguments: str) -> dict[str, Any]:
    function = {"name": choice.call, "arguments": arguments}
    return {"id": f"call_{choice.call_id}", "type": "function", "function": function}


CHAT = CompletionFormat(
    id_prefix="chatcmpl-",
    object="chat.completion",
    chunk_object="chat.completion.chunk",
    message=_message,
    delta=_delta,
    last_delta={"delta": {}},
)
TEXT = CompletionFormat(
    id_prefix="cmpl-",
    object="text_completion",
    chunk_object="text_completion",
    message=lambda choice: {"text": choice.text},
    delta=lambda _, text, __: {"text": text},
    last_delta={"text": ""},
)


def body(answer: GeneratedAnswer, completion_format: CompletionFormat) -> bytes:
    """Return the body of an answer that is not streamed."""
    choices = [
        {"index": i, **completion_format.message(choice), "logprobs": None, "finish_reason": choice.finish}
        for i, choice in enumerate(answer.choices)
    ]
    return encode({**_common_fields(answer, completion_format.object), "choices": choices, "usage": answer.usage})


def events(
    answer: GeneratedAnswer, completion_format: CompletionFormat, with_usage: bool
) -> Iterator[tuple[bool, bytes]]:
    """Yield each server-sent event with a flag: whether the event carries a token, which takes time to generate."""
    common = _common_fields(answer, completion_format.chunk_object) | ({"usage": None} if with_usage else {})

    def event(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, **delta, "logprobs": None, "finish_reason": finish}
        return b"data: %b\n\n" % encode({**common, "choices": [choice]})

    for step in range(max(1, *(len(choice.tokens) for choice in answer.choices))):
        has_token = True
        for index, choice in enumerate(answer.choices):
            if step < len(choice.tokens) or step == 0:
                text = choice.tokens[step] if choice.tokens else ""
                yield has_token, event(index, completion_format.delta(choice, text, step == 0))
                has_token = False
    for index, choice in enumerate(answer.choices):
        yield False, event(index, completion_format.last_delta, choice.finish)
    if with_usage:
        yield False, b"data: %b\n\n" % encode({**common, "choices": [], "usage": answer.usage})
    yield False, b"data: [DONE]\n\n"


def _common_fields(answer: GeneratedAnswer, object_type: str) -> dict[str, Any]:
    return {
        "id": answer.id,
        "object": object_type,
        "created": answer.created,
        "model": answer.model,
        "system_fingerprint": "mock",
    }
