"""OpenAI's /v1/responses: one answer as a whole, or as the events of its making. Pure."""

from collections.abc import Iterator
from typing import Any

from svc.mock.answer import Answer, encode

Event = tuple[str, dict[str, Any]]


def body(answer: Answer) -> bytes:
    return encode(_response(answer, done=True))


def events(answer: Answer) -> Iterator[tuple[bool, bytes]]:
    """As server-sent events, numbered; True marks those that the model takes time to come up with."""
    for number, (kind, told) in enumerate(_told(answer)):
        made = encode({"type": kind, "sequence_number": number, **told})
        yield kind == "response.output_text.delta", b"event: %b\ndata: %b\n\n" % (kind.encode(), made)


def _told(answer: Answer) -> Iterator[Event]:
    """response > item > part > deltas, each begun and done."""
    choice = answer.choices[0]
    item = {"output_index": 0}
    part = {"item_id": _item_id(answer), **item, "content_index": 0}
    yield "response.created", {"response": _response(answer, done=False)}
    yield "response.in_progress", {"response": _response(answer, done=False)}
    yield "response.output_item.added", {**item, "item": _item(answer, done=False)}
    yield "response.content_part.added", {**part, "part": _part("")}
    for token in choice.tokens:
        yield "response.output_text.delta", {**part, "delta": token, "logprobs": []}
    yield "response.output_text.done", {**part, "text": choice.text, "logprobs": []}
    yield "response.content_part.done", {**part, "part": _part(choice.text)}
    yield "response.output_item.done", {**item, "item": _item(answer, done=True)}
    yield f"response.{_status(answer)}", {"response": _response(answer, done=True)}


def _response(answer: Answer, done: bool) -> dict[str, Any]:
    status = _status(answer) if done else "in_progress"
    return {
        "id": answer.id,
        "object": "response",
        "created_at": answer.created,
        "model": answer.model,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "metadata": {},
        "output": [_item(answer, done=True)] if done else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": _usage(answer.usage) if done else None,
    }


def _item(answer: Answer, done: bool) -> dict[str, Any]:
    content = [_part(answer.choices[0].text)] if done else []
    status = _status(answer) if done else "in_progress"
    return {"id": _item_id(answer), "type": "message", "role": "assistant", "status": status, "content": content}


def _item_id(answer: Answer) -> str:
    return f"msg_{answer.id}"


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _status(answer: Answer) -> str:
    return "incomplete" if answer.choices[0].finish == "length" else "completed"


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": usage["prompt_tokens_details"],
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }
