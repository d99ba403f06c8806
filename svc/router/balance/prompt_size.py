"""The size of a request's prompt: the bytes of its text in UTF-8. Pure.

As in the original router, these texts count: the content of each message, which may be a list of parts with `text` and
`content`; without messages, the prompt, which may be a list of texts. Images, tools and other fields do not count.

The values of a list take up to 28 times the memory of their JSON. So a body with more than MAX_COMMAS commas, which may
have a very long list, is not parsed: all its bytes count.
"""

import msgspec

from svc.base.errors import BadRequest
from svc.router.http.json_body import strict_json, utf8

ABSENT = msgspec.Raw(b"")
MAX_COMMAS = 100_000  # English prose has as many in about 9 MB, base64 has none


class _Part(msgspec.Struct, gc=False):
    text: msgspec.Raw = ABSENT
    content: msgspec.Raw = ABSENT


class _Message(msgspec.Struct, gc=False):
    content: msgspec.Raw = ABSENT


class _PromptBody(msgspec.Struct, gc=False):
    messages: list[_Message] | None = None
    prompt: msgspec.Raw = ABSENT


_decode_body = msgspec.json.Decoder(_PromptBody).decode
_decode_parts = msgspec.json.Decoder(list[_Part]).decode
_decode_texts = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


def exceeds(body: bytes, limit: int) -> bool:
    """Return whether the text of the prompt has more bytes than `limit`. The body is read only if it is that long."""
    return len(body) > limit and text_bytes(body) > limit


def text_bytes(body: bytes) -> int:
    """Return the bytes of the prompt's text in UTF-8; 0 for a body without a prompt, or one that cannot be read."""
    if body.count(b",") > MAX_COMMAS:
        return len(body)
    try:
        return _count(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _count(strict_json(utf8(body)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadRequest):
        return 0


def _count(body: bytes) -> int:
    fields = _decode_body(body)
    if fields.messages is not None:
        return sum(_content_bytes(memoryview(message.content)) for message in fields.messages)
    prompt = memoryview(fields.prompt)
    if prompt[:1] == b"[":
        return sum(_string_bytes(memoryview(text)) for text in _decode_texts(prompt))
    return _string_bytes(prompt)


def _content_bytes(content: memoryview) -> int:
    if content[:1] == b"[":
        parts = _decode_parts(content)
        return sum(_string_bytes(memoryview(part.text)) + _string_bytes(memoryview(part.content)) for part in parts)
    return _string_bytes(content)


def _string_bytes(raw: memoryview) -> int:
    """Return the bytes in UTF-8 of a JSON string; 0 for any other JSON."""
    if raw[:1] != b'"':
        return 0
    text = bytes(raw)
    return len(_decode_text(text).encode()) if b"\\" in text else len(text) - 2
