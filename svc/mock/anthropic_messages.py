"""Anthropic's /v1/messages: an answer as one body or as a stream of events, and errors. Pure."""

from collections.abc import Iterator
from typing import Any

import msgspec

from svc.base.errors import SvcError
from svc.mock.generation import GeneratedAnswer, GeneratedChoice

PATH = "/v1/messages"
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def body(answer: GeneratedAnswer) -> bytes:
    """Return the body of an answer that is not streamed."""
    message = _message(answer, answer.usage["completion_tokens"])
    return msgspec.json.encode(message | {"content": [_block(answer.choices[0])]} | _stop_fields(answer))


def events(answer: GeneratedAnswer) -> Iterator[tuple[bool, bytes]]:
    """Yield each server-sent event with a flag: whether the event carries a token, which takes time to generate."""
    for event_type, fields in _events(answer):
        data = msgspec.json.encode({"type": event_type, **fields})
        yield event_type == "content_block_delta", b"event: %b\ndata: %b\n\n" % (event_type.encode(), data)


def error_body(error: SvcError, status: int) -> dict[str, Any]:
    return {"type": "error", "error": {"type": ERROR_TYPES.get(status, "api_error"), "message": error.message}}


def _events(answer: GeneratedAnswer) -> Iterator[tuple[str, dict[str, Any]]]:
    choice = answer.choices[0]
    yield "message_start", {"message": _message(answer, output_tokens=1)}
    yield "content_block_start", {"index": 0, "content_block": _empty_block(choice)}
    yield "ping", {}
    for token in choice.tokens:
        delta = {"type": "text_delta", "text": token}
        if choice.call:
            delta = {"type": "input_json_delta", "partial_json": token}
        yield "content_block_delta", {"index": 0, "delta": delta}
    yield "content_block_stop", {"index": 0}
    usage = {"output_tokens": answer.usage["completion_tokens"]}
    yield "message_delta", {"delta": _stop_fields(answer), "usage": usage}
    yield "message_stop", {}


def _block(choice: GeneratedChoice) -> dict[str, Any]:
    """Return the content block of an answer: a text, or the call of a function with its arguments."""
    if choice.call:
        return _empty_block(choice) | {"input": msgspec.Raw(choice.text.encode())}
    return {"type": "text", "text": choice.text}


def _empty_block(choice: GeneratedChoice) -> dict[str, Any]:
    """Return the content block that begins a stream: without its text, or without the arguments of its call."""
    if choice.call:
        return {"type": "tool_use", "id": f"toolu_{choice.call_id}", "name": choice.call, "input": {}}
    return {"type": "text", "text": ""}


def _message(answer: GeneratedAnswer, output_tokens: int) -> dict[str, Any]:
    """Return the message object without content and stop reason; its usage contains `output_tokens`."""
    cached = answer.usage["prompt_tokens_details"]["cached_tokens"]
    usage = {
        "input_tokens": answer.usage["prompt_tokens"] - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": output_tokens,
    }
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _stop_fields(answer: GeneratedAnswer) -> dict[str, Any]:
    choice = answer.choices[0]
    reason = "stop_sequence" if choice.stop else STOP_REASONS[choice.finish]
    return {"stop_reason": reason, "stop_sequence": choice.stop}
