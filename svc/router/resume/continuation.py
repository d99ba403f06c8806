"""The request that asks another instance to continue an answer. Pure.

    request = continuation(dialect, body, partial)   # after `eligibility.why_not` has returned an empty reason
    send(request.body)                               # to an instance that continues, or to any if `request.repeats`

The text so far becomes the beginning of the assistant's message. In a chat, the request gets `continue_final_message`,
which vLLM, SGLang and llama.cpp understand. In Anthropic's form, the message is the last turn. White space at the end
of the text is left out, because chat templates strip it there and Anthropic's API refuses it; `text_join` removes it
from the beginning of the continuation. In a completion, the text is appended to the prompt. The request's maximum of
tokens is reduced by the number of tokens generated so far. If the request has no maximum, the engine applies its
default to the continuation alone.
"""

from typing import Any

import msgspec

from svc.protocol.continuation import CONTINUE_FIELDS
from svc.router.resume.dialect import Dialect
from svc.router.resume.partial_answer import PartialAnswer
from svc.router.resume.request_fields import (
    TOKEN_LIMITS,
    TOKEN_MINIMUMS,
    Fields,
    last_message,
    messages,
    prompt_text,
    read_fields,
    stop_texts,
    token_limit,
    value,
)
from svc.router.resume.text_join import TextEnd, text_end

_encode = msgspec.json.encode


class Continuation(msgspec.Struct, frozen=True):
    """A request that continues an answer.

    `repeats`: it is the first request again, because only white space was generated; any instance can answer it.
    `text_end`: the end of the text that the client has.
    `tokens`: the number of tokens of the answer so far, without white space at its end, which is generated again.
    """

    body: bytes
    repeats: bool = False
    text_end: TextEnd = TextEnd()
    tokens: int = 0


def continuation(dialect: Dialect, body: bytes, partial: PartialAnswer) -> Continuation:
    """Return the request that continues an answer. `body`: the request as it was sent at first."""
    fields = read_fields(body)
    if fields is None:
        raise ValueError("the body is not JSON in UTF-8")
    text = partial.text
    sent = text if dialect is Dialect.COMPLETIONS else text.rstrip()
    if not sent:
        return Continuation(body, repeats=True, text_end=TextEnd(text))
    tokens = partial.tokens - (partial.blank_tail_tokens() if len(sent) < len(text) else 0)
    changed: dict[str, msgspec.Raw] = {**fields, **_less_tokens(fields, tokens)}
    if dialect is Dialect.COMPLETIONS:
        changed["prompt"] = _raw(_with_text(value(fields, "prompt"), prompt_text(fields) or "", sent))
    else:
        changed["messages"] = _raw(_with_answer(dialect, fields, sent, partial.reasoning))
    if dialect is Dialect.CHAT:
        changed |= {name: _raw(flag) for name, flag in CONTINUE_FIELDS.items()}
    end = text_end(text, text[len(sent) :], stop_texts(fields), value(fields, "include_stop_str_in_output") is True)
    return Continuation(_encode(changed), text_end=end, tokens=max(0, tokens))


def is_used_up(body: bytes, partial: PartialAnswer) -> bool:
    """Return whether the answer has all the tokens that the request allows, so that only its end is missing."""
    fields = read_fields(body)
    limit = None if fields is None else token_limit(fields)
    return limit is not None and partial.has_content and partial.tokens >= limit


def _raw(data: Any) -> msgspec.Raw:
    return msgspec.Raw(_encode(data))


def _less_tokens(fields: Fields, tokens: int) -> dict[str, msgspec.Raw]:
    """Return the token limits of the request, reduced by `tokens`. A negative number is no limit, and is left out."""
    limits = {name: limit for name in TOKEN_LIMITS if (limit := value(fields, name)) is not None and limit > 0}
    minimums = {name: least for name in TOKEN_MINIMUMS if (least := value(fields, name)) is not None}
    reduced = {name: max(1, limit - tokens) for name, limit in limits.items()}
    return {name: _raw(number) for name, number in (reduced | _reduced(minimums, tokens)).items()}


def _reduced(minimums: dict[str, int], tokens: int) -> dict[str, int]:
    return {name: max(0, least - tokens) for name, least in minimums.items()}


def _with_text(prompt: str | list[str], beginning: str, text: str) -> str | list[str]:
    """Return a prompt with the text appended. A list of one text stays a list."""
    return beginning + text if isinstance(prompt, str) else [beginning + text]


def _with_answer(dialect: Dialect, fields: Fields, text: str, reasoning: str) -> list[msgspec.Raw]:
    """Return the messages with the text: as a new assistant's message, or appended to one that is the last already."""
    items = messages(fields)
    last = last_message(fields)
    if last.get("role") == "assistant":
        return [*items[:-1], _raw({**last, "content": _extended(last["content"], text)})]
    message = {"role": "assistant", "content": text}
    if reasoning:
        message["reasoning_content"] = reasoning
    return [*items, _raw(message)]


def _extended(content: str | list[dict[str, Any]], text: str) -> str | list[dict[str, Any]]:
    """Return a message's content with the text appended."""
    if isinstance(content, str):
        return content + text
    return [*content[:-1], {**content[-1], "text": content[-1]["text"] + text}]
