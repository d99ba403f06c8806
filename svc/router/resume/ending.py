"""The end of an answer that is complete but for its last events, so that no instance has to be asked. Pure.

events = ending(dialect, body, partial)   # empty: the answer is not complete
"""

from typing import Any

from svc.router.resume.continuation import is_used_up
from svc.router.resume.dialect import Dialect
from svc.router.resume.event_formats import DECODE_ERRORS, written, written_message
from svc.router.resume.partial_answer import PartialAnswer
from svc.router.resume.request_fields import asks_usage, read_fields

_OBJECTS = {Dialect.CHAT: "chat.completion.chunk", Dialect.COMPLETIONS: "text_completion"}
_DONE = b"data: [DONE]\n\n"


def ending(dialect: Dialect, body: bytes, partial: PartialAnswer, prompt_tokens: int = 0) -> bytes:
    """Return the missing last events of an answer that is otherwise complete; empty if it is not.

    An answer is complete once its reason to finish has come, or if it has all the tokens that the request allows.
    `body`: the request as it was sent to the instance; if that asks for the usage, the end contains it.
    `prompt_tokens`: the estimated tokens of the prompt, used if the instance has reported none.
    """
    try:
        if partial.ended or not (partial.finish_reason or (is_used_up(body, partial) and not partial.obstacle)):
            return b""
        fields = read_fields(body)
        with_usage = fields is not None and asks_usage(dialect, fields) and not partial.usage_seen
    except (*DECODE_ERRORS, TypeError):
        return b""
    if dialect is Dialect.MESSAGES:
        return _message_ending(partial)
    events = [] if partial.finish_reason else [_finish(dialect, partial)]
    if with_usage:
        events.append(_completion_event(dialect, partial, [], _usage(partial, prompt_tokens)))
    return b"".join([*events, _DONE])


def _finish(dialect: Dialect, partial: PartialAnswer) -> bytes:
    text: dict[str, Any] = {"delta": {}} if dialect is Dialect.CHAT else {"text": ""}
    return _completion_event(
        dialect, partial, [{"index": 0, **text, "logprobs": None, "finish_reason": "length"}], None
    )


def _completion_event(
    dialect: Dialect, partial: PartialAnswer, choices: list[dict[str, Any]], usage: dict[str, int] | None
) -> bytes:
    event = {
        "id": partial.id,
        "object": _OBJECTS[dialect],
        "created": partial.created,
        "model": partial.model,
        "choices": choices,
    }
    return written(event if usage is None else event | {"usage": usage})


def _usage(partial: PartialAnswer, prompt_tokens: int) -> dict[str, int]:
    prompt = prompt_tokens if partial.prompt_tokens is None else partial.prompt_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": partial.tokens,
        "total_tokens": prompt + partial.tokens,
    }


def _message_ending(partial: PartialAnswer) -> bytes:
    events: list[dict[str, Any]] = []
    if partial.block is not None and not partial.finish_reason:
        events.append({"type": "content_block_stop", "index": partial.block})
    if not partial.finish_reason:
        delta = {"stop_reason": "max_tokens", "stop_sequence": None}
        events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": partial.tokens}})
    events.append({"type": "message_stop"})
    return b"".join(map(written_message, events))
