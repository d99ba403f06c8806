"""Which model is meant: aliases and fallbacks, and the body rewritten only then. Pure."""

from collections.abc import Callable, Mapping
from urllib.parse import quote, unquote_plus

from svc.router.http.json_body import replace_model
from svc.router.http.multipart_form import find_field
from svc.router.http.request import Media, Request, RequestHead

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


def renamed(request: Request, model: str) -> Request:
    """Return a request that names another model, every other byte of it as it was; raises BadRequest."""
    head, body = request.head, request.body
    if body and head.media is Media.JSON:
        return Request(head, replace_model(body, model))
    place = find_field(body, head.content_type, b"model") if body and head.media is Media.FORM else None
    if place is not None:
        return Request(head, body[: place.start] + model.encode() + body[place.stop :])
    return Request(_renamed_query(head, model), body)


def _renamed_query(head: RequestHead, model: str) -> RequestHead:
    path, _, query = head.path.partition("?")
    fields = [
        f"model={quote(model, safe='')}" if unquote_plus(field.partition("=")[0]) == "model" else field
        for field in query.split("&")
    ]
    target = f"{path}?{'&'.join(fields)}".encode("latin-1")
    return RequestHead(head.method, target, head.headers, head.special, head.http10, head.keep_alive, head.rules)
