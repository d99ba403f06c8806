"""Which model is meant: aliases and fallbacks, and the body rewritten only then. Pure."""

import re
from collections.abc import Callable, Mapping

import msgspec

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
STEPS = 8  # fallbacks of fallbacks


def meant(
    asked: str | None, aliases: Mapping[str, str], fallbacks: Mapping[str, str], served: Callable[[str], bool]
) -> str | None:
    """1. What an alias stands for. 2. Where nobody serves that, its fallback, as far as one is served."""
    if asked is None:
        return None
    model = aliases.get(asked, asked)  # 1
    other = model
    for _ in range(STEPS):  # 2
        if served(other) or other not in fallbacks:
            break
        other = fallbacks[other]
    return other if served(other) else model


def renamed(body: bytes, old: str, new: str) -> bytes:
    """The body with another model: the value of every other field stays byte for byte as it was.

    A body that is not quite JSON is left alone: the instance says what is wrong with it.
    """
    if body.lstrip()[:1] == b"{":
        try:
            fields = _fields(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return body
        fields["model"] = msgspec.Raw(msgspec.json.encode(new))
        return msgspec.json.encode(fields)
    part = re.compile(
        rb'([; ]name=(?:"model"|model\b)[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n)' + re.escape(old.encode()) + rb"(?=\r\n--)"
    )
    return part.sub(lambda found: found.group(1) + new.encode(), body, count=1)
