"""Anthropic's /v1/messages: one answer as a whole, as the events of its making, and errors. Pure."""

from collections.abc import Iterator
from typing import Any

from svc.base.errors import SvcError
from svc.mock.answer import Answer, encode

PATH = "/v1/messages"
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def body(answer: Answer) -> bytes:
    text = {"type": "text", "text": answer.choices[0].text}
    return encode(_message(answer, answer.usage["completion_tokens"]) | {"content": [text]} | _reason(answer))


def events(answer: Answer) -> Iterator[tuple[bool, bytes]]:
    """As server-sent events; True marks those that the model takes time to come up with."""
    for kind, told in _told(answer):
        made = encode({"type": kind, **told})
        yield kind == "content_block_delta", b"event: %b\ndata: %b\n\n" % (kind.encode(), made)


def error(error: SvcError, status: int) -> dict[str, Any]:
    return {"type": "error", "error": {"type": ERRORS.get(status, "api_error"), "message": error.message}}


def _told(answer: Answer) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "message_start", {"message": _message(answer, 1)}
    yield "content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}
    yield "ping", {}
    for token in answer.choices[0].tokens:
        yield "content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": token}}
    yield "content_block_stop", {"index": 0}
    spent = {"output_tokens": answer.usage["completion_tokens"]}
    yield "message_delta", {"delta": _reason(answer), "usage": spent}
    yield "message_stop", {}


def _message(answer: Answer, spent: int) -> dict[str, Any]:
    """Without what it says, and why it ended; `spent` are the tokens of it so far."""
    cached = answer.usage["prompt_tokens_details"]["cached_tokens"]
    usage = {
        "input_tokens": answer.usage["prompt_tokens"] - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": spent,
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


def _reason(answer: Answer) -> dict[str, Any]:
    choice = answer.choices[0]
    reason = "stop_sequence" if choice.stop else "max_tokens" if choice.finish == "length" else "end_turn"
    return {"stop_reason": reason, "stop_sequence": choice.stop}
