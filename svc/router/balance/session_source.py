"""Finds the header or the field that names the session of a request, for explanations. Pure."""

from svc.router.http.json_body import read_body
from svc.router.http.request import Media, Request


def session_source(request: Request, session: bytes) -> str:
    """Return the header or the field that names the session; empty for a request without a session."""
    head = request.head
    if not session:
        return ""
    if session != head.session and request.body and head.media is Media.JSON:
        key = bytes(read_body(request.body).fields.prompt_cache_key)
        return "prompt_cache_key of the body" if key[1:-1] == session else "metadata.user_id of the body"
    ranks = head.rules.session_ranks
    names = [name.lower() for name, value in (*head.headers, *head.special.items()) if value]
    first = min((name for name in names if name in ranks), key=ranks.__getitem__, default=None)
    return f"the header {first.decode()}" if first else "the first address of X-Forwarded-For, with User-Agent"
