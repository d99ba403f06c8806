"""The fields of a request whose answer is to be continued. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from svc.router.resume.dialect import Dialect
from svc.router.resume.event_formats import DECODE_ERRORS

Fields = Mapping[str, msgspec.Raw]

# Maximum of generated tokens. llama.cpp calls it `n_predict`; if a request has several, the least counts.
TOKEN_LIMITS = ("max_tokens", "max_completion_tokens", "n_predict")
TOKEN_MINIMUMS = ("min_tokens", "min_new_tokens")
# Limits for the texts that end an answer. With a longer one, the search for its beginning would delay other requests.
MAX_STOPS = 32
MAX_STOP_CHARS = 500

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def read_fields(body: bytes) -> Fields | None:
    """Return the fields of a request's body, None if it is not plain JSON in UTF-8."""
    try:
        return _decode_fields(body)
    except DECODE_ERRORS:
        return None


def value(fields: Fields, name: str) -> Any:
    """Return the value of a field, None if it is absent; raise one of DECODE_ERRORS if it cannot be read."""
    raw = fields.get(name)
    return None if raw is None else msgspec.json.decode(raw)


def messages(fields: Fields) -> list[msgspec.Raw]:
    """Return the messages of a chat or of Anthropic's form; raise one of DECODE_ERRORS if they are not a list."""
    return _decode_list(fields["messages"]) if "messages" in fields else []


def last_message(fields: Fields) -> dict[str, Any]:
    """Return the last message, empty if there is none; raise one of DECODE_ERRORS if it is not an object."""
    items = messages(fields)
    return msgspec.json.decode(items[-1], type=dict[str, Any]) if items else {}


def token_limit(fields: Fields) -> int | None:
    """Return the maximum of tokens that the request allows, None for no maximum."""
    limits = [limit for name in TOKEN_LIMITS if (limit := value(fields, name)) is not None and limit >= 0]
    return min(limits, default=None)


def prompt_text(fields: Fields) -> str | None:
    """Return the prompt of a completion if it is one text; None if it consists of several texts or of tokens."""
    prompt = value(fields, "prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    return prompt if isinstance(prompt, str) else None


def stop_texts(fields: Fields) -> tuple[str, ...]:
    """Return the texts that end the answer; raise TypeError if they are no texts, ValueError if they are too long."""
    stops = value(fields, "stop") or value(fields, "stop_sequences") or ()
    stops = (stops,) if isinstance(stops, str) else tuple(stops)
    if not all(isinstance(stop, str) for stop in stops):
        raise TypeError("a stop is no text")
    if len(stops) > MAX_STOPS or any(len(stop) > MAX_STOP_CHARS for stop in stops):
        raise ValueError("the stops are too many or too long")
    return tuple(filter(None, stops))


def asks_usage(dialect: Dialect, fields: Fields) -> bool:
    """Return whether the request asks for an event with the usage at the end of the stream."""
    options = value(fields, "stream_options")
    return dialect is not Dialect.MESSAGES and isinstance(options, dict) and options.get("include_usage") is True
