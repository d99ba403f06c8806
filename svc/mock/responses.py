"""OpenAI's /v1/responses: an answer as one body or as a stream of events. Pure."""

from collections.abc import Iterator
from typing import Any

import msgspec

from svc.mock.generation import GeneratedAnswer
from svc.mock.request_bodies import ResponsesBody


def body(answer: GeneratedAnswer, in_background: bool = False) -> bytes:
    """Return the body of an answer that is not streamed. An answer `in_background` is still in progress."""
    return msgspec.json.encode(response(answer, not in_background) | {"background": in_background})


def events(answer: GeneratedAnswer) -> Iterator[tuple[bool, bytes]]:
    """Yield each server-sent event with a flag: whether the event carries a token, which takes time to generate."""
    for number, (event_type, fields) in enumerate(_events(answer)):
        data = msgspec.json.encode({"type": event_type, "sequence_number": number, **fields})
        yield event_type.endswith(".delta"), b"event: %b\ndata: %b\n\n" % (event_type.encode(), data)


def _events(answer: GeneratedAnswer) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the type and data of each event. The begin and end events of response, item and part are nested."""
    yield "response.created", {"response": response(answer, done=False)}
    yield "response.in_progress", {"response": response(answer, done=False)}
    yield "response.output_item.added", {"output_index": 0, "item": _item(answer, done=False)}
    yield from _call_events(answer) if answer.choices[0].call else _text_events(answer)
    yield "response.output_item.done", {"output_index": 0, "item": _item(answer, done=True)}
    yield f"response.{_status(answer)}", {"response": response(answer, done=True)}


def _text_events(answer: GeneratedAnswer) -> Iterator[tuple[str, dict[str, Any]]]:
    choice = answer.choices[0]
    part = {"item_id": _item_id(answer), "output_index": 0, "content_index": 0}
    yield "response.content_part.added", {**part, "part": _part("")}
    for token in choice.tokens:
        yield "response.output_text.delta", {**part, "delta": token, "logprobs": []}
    yield "response.output_text.done", {**part, "text": choice.text, "logprobs": []}
    yield "response.content_part.done", {**part, "part": _part(choice.text)}


def _call_events(answer: GeneratedAnswer) -> Iterator[tuple[str, dict[str, Any]]]:
    choice = answer.choices[0]
    item = {"item_id": _item_id(answer), "output_index": 0}
    for token in choice.tokens:
        yield "response.function_call_arguments.delta", {**item, "delta": token}
    yield "response.function_call_arguments.done", {**item, "name": choice.call, "arguments": choice.text}


def response(answer: GeneratedAnswer, done: bool = True) -> dict[str, Any]:
    """Return the response object; until it is `done`, it has no output."""
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
        "background": False,
        "tool_choice": "auto",
        "tools": [],
        "usage": _usage(answer.usage) if done else None,
    }


def input_items(response_id: str, body: ResponsesBody) -> list[dict[str, Any]]:
    """Return the input of a request as a list of items."""
    messages = [message for message in body.conversation().messages if message.role != "system"]
    return [
        {
            "id": f"msg_{response_id}_{number}",
            "type": "message",
            "role": message.role or "user",
            "content": [{"type": "input_text", "text": message.text}],
        }
        for number, message in enumerate(messages)
    ]


def _item(answer: GeneratedAnswer, done: bool) -> dict[str, Any]:
    choice = answer.choices[0]
    item = {"id": _item_id(answer), "status": _status(answer) if done else "in_progress"}
    if choice.call:
        call = {"call_id": f"call_{answer.id}", "name": choice.call, "arguments": choice.text if done else ""}
        return {**item, "type": "function_call", **call}
    return {**item, "type": "message", "role": "assistant", "content": [_part(choice.text)] if done else []}


def _item_id(answer: GeneratedAnswer) -> str:
    return f"{'fc' if answer.choices[0].call else 'msg'}_{answer.id}"


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _status(answer: GeneratedAnswer) -> str:
    return "incomplete" if answer.choices[0].finish == "length" else "completed"


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": usage["prompt_tokens_details"],
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }
