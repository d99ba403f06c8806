"""Anthropic's /v1/messages: an answer as one body or as a stream of events, and errors. Pure."""

from collections.abc import Iterator
from typing import Any

import msgspec

from svc.base.errors import SvcError
from svc.mock.generation import GeneratedAnswer

PATH = "/v1/messages"
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def body(answer: GeneratedAnswer) -> bytes:
    """Return the body of an answer that is not streamed."""
    text = {"type": "text", "text": answer.choices[0].text}
    message = _message(answer, answer.usage["completion_tokens"])
    return msgspec.json.encode(message | {"content": [text]} | _stop_fields(answer))


def events(answer: GeneratedAnswer) -> Iterator[tuple[bool, bytes]]:
    """Yield each server-sent event, and whether it carries a token: only tokens take time to generate."""
    for event_type, fields in _events(answer):
        data = msgspec.json.encode({"type": event_type, **fields})
        yield event_type == "content_block_delta", b"event: %b\ndata: %b\n\n" % (event_type.encode(), data)


def error_body(error: SvcError, status: int) -> dict[str, Any]:
    return {"type": "error", "error": {"type": ERROR_TYPES.get(status, "api_error"), "message": error.message}}


def _events(answer: GeneratedAnswer) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "message_start", {"message": _message(answer, output_tokens=1)}
    yield "content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}
    yield "ping", {}
    for token in answer.choices[0].tokens:
        yield "content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": token}}
    yield "content_block_stop", {"index": 0}
    usage = {"output_tokens": answer.usage["completion_tokens"]}
    yield "message_delta", {"delta": _stop_fields(answer), "usage": usage}
    yield "message_stop", {}


def _message(answer: GeneratedAnswer, output_tokens: int) -> dict[str, Any]:
    """Return the message object without content and stop reason. Its usage counts `output_tokens` tokens."""
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
    reason = "stop_sequence" if choice.stop else "max_tokens" if choice.finish == "length" else "end_turn"
    return {"stop_reason": reason, "stop_sequence": choice.stop}
