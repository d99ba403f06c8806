"""Requests the usage of streams from engines if the clients do not, and removes it from these streams again.

Engines send the usage of a stream only if the request has `stream_options.include_usage`: as one more event, without
choices. Clients that have not requested it may not expect such an event.
"""

import re
from collections.abc import Callable

import msgspec

from svc.router.http.json_body import ABSENT, replace_value
from svc.router.http.request import Media, Request
from svc.router.http.sse import EVENT_END
from svc.router.proxy.exchange import Exchange
from svc.router.proxy.response_stream import ResponseStream

PATHS = frozenset(b"/v1/chat/completions /chat/completions /v1/completions /completions".split())
OPTION = b'"stream_options":{"include_usage":true},'
NO_CHOICES = (b'"choices":[]', b'"choices": []')  # as engines write it; an event with other blanks is not removed
USAGE_EVENT = re.compile(rb'\A(?=.*"choices" ?: ?\[\])(?=.*"usage" ?: ?\{)', re.S)


class _StreamFields(msgspec.Struct, gc=False):
    stream: msgspec.Raw = ABSENT
    stream_options: msgspec.Raw = ABSENT


_decode = msgspec.json.Decoder(_StreamFields).decode
_decode_options = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class StreamWithoutUsage(ResponseStream):
    """An event stream from which the event with the usage is removed, once it was counted."""

    __slots__ = ()

    def _add(self, data: bytes, clock: Callable[[], float]) -> bytes:
        super()._add(data, clock)
        return _without_usage(data) if _may_have_usage(data) else data


def request_usage(exchange: Exchange) -> None:
    """Add `include_usage` to a request for a stream of completions, unless the client has set it.

    A body that cannot be read stays as it is.
    """
    request = exchange.request
    head = request.head
    if head.method == b"POST" and head.media is Media.JSON and head.uri.partition(b"?")[0] in PATHS:
        body = _with_option(request.body)
        if body is not None:
            exchange.request = Request(head, body)
            exchange.hides_usage = True


def passes_without_usage(exchange: Exchange, data: bytes) -> bool:
    """Return whether these bytes can be passed on unparsed: they have no usage, and `Exchange.passes` allows it."""
    return not _may_have_usage(data) and exchange.passes(data)


def _with_option(body: bytes) -> bytes | None:
    """Return the body with the option; None if it needs none."""
    try:
        fields = _decode(body)
        if bytes(fields.stream) != b"true":
            return None
        options = bytes(fields.stream_options)
        if not options:
            start = body.index(b"{") + 1
            return body[:start] + OPTION + body[start:]
        values = {} if options == b"null" else _decode_options(options)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if bytes(values.get("include_usage", ABSENT)) == b"true":
        return None
    values["include_usage"] = msgspec.Raw(b"true")
    return replace_value(body, fields.stream_options, msgspec.json.encode(values))


def _may_have_usage(data: bytes) -> bool:
    return NO_CHOICES[0] in data or NO_CHOICES[1] in data


def _without_usage(data: bytes) -> bytes:
    """Return the whole events in `data`, except those that contain nothing but the usage."""
    kept, start = [], 0
    for end in EVENT_END.finditer(data):
        event = data[start : end.end()]
        start = end.end()
        if not USAGE_EVENT.match(event):
            kept.append(event)
    return b"".join((*kept, data[start:]))
