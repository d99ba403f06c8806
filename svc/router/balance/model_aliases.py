"""Aliases and fallbacks of models: finds the model to route to, and writes this model into the request. Pure."""

from collections.abc import Callable, Mapping
from urllib.parse import quote, unquote_plus

from svc.router.http.json_body import replace_model
from svc.router.http.multipart_form import find_field
from svc.router.http.request import Media, Request, RequestHead

MAX_FALLBACK_STEPS = 8  # limit for a chain of fallbacks: a fallback may have a fallback of its own


def resolve(
    requested: str | None,
    aliases: Mapping[str, str],
    fallbacks: Mapping[str, str],
    is_available: Callable[[str], bool],
) -> str | None:
    """Return the model to route to.

    If an alias was requested, replace it by its model. If the model is not available, return its first available
    fallback; if no fallback is available, return the model all the same.
    """
    if requested is None:
        return None
    model = aliases.get(requested, requested)
    candidate = model
    for _ in range(MAX_FALLBACK_STEPS):
        if is_available(candidate) or candidate not in fallbacks:
            break
        candidate = fallbacks[candidate]
    return candidate if is_available(candidate) else model


def with_model(request: Request, model: str) -> Request:
    """Return the request with another model and otherwise unchanged; raise BadRequest if it cannot be parsed."""
    head, body = request.head, request.body
    if body and head.media is Media.JSON:
        return Request(head, replace_model(body, model))
    position = find_field(body, head.content_type, b"model") if body and head.media is Media.FORM else None
    if position is not None:
        return Request(head, body[: position.start] + model.encode() + body[position.stop :])
    return Request(_with_query_model(head, model), body)


def _with_query_model(head: RequestHead, model: str) -> RequestHead:
    path, _, query = head.uri_text.partition("?")
    fields = [
        f"model={quote(model, safe='')}" if unquote_plus(field.partition("=")[0]) == "model" else field
        for field in query.split("&")
    ]
    uri = f"{path}?{'&'.join(fields)}".encode("latin-1")
    return RequestHead(head.method, uri, head.headers, head.special, head.http10, head.keep_alive, head.rules)
