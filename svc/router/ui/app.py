"""What answers at /ui: the page and its files, its stream, and the two things that an operator does there."""

import logging
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as Answer

from svc.base.errors import NotFound, Unauthorized, Unavailable
from svc.client.registry import RegistryClient
from svc.router.proxy.trusted_proxies import client_of, peer_address
from svc.router.state import RouterState
from svc.router.ui.feed import Feed
from svc.router.ui.files import SHELL, files

log = logging.getLogger(__name__)
TOKEN = "X-Operator-Token"  # noqa: S105 - the name of a header
GUARD = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def page(state: RouterState, pulse: Feed) -> Blueprint:
    ui = Blueprint("ui", __name__, url_prefix="/ui")

    @ui.get("")
    def shell() -> Response:
        """The page; there is nothing in it yet, so no key is needed."""
        return _file(SHELL)

    @ui.get("/")
    def slash() -> Answer:
        """To /ui."""
        return redirect("/ui", 308)

    @ui.get("/<path:name>")
    def file(name: str) -> Response:
        """What the page is made of; no key is needed."""
        return _file(name)

    @ui.get("/stream")
    def stream() -> Response:
        """Everything that the page shows, as server-sent events; 429 where too many pages are open."""
        identify(state)
        if state.draining:
            raise Unavailable("the router is stopping")
        return Response(pulse.open(), mimetype="text/event-stream", headers={"Cache-Control": "no-store"})

    @ui.post("/drain/<name>")
    def drain(name: str) -> dict[str, Any]:
        """Nothing new is sent to the instance; needs the operator's token in X-Operator-Token."""
        return _mark(name, True)

    @ui.post("/undrain/<name>")
    def undrain(name: str) -> dict[str, Any]:
        """Takes the mark away; needs the operator's token in X-Operator-Token."""
        return _mark(name, False)

    def _mark(name: str, drained: bool) -> dict[str, Any]:
        """Done by the registry, for whoever has its token: the router's own is not used, and neither is its place
        beside the registry, from where no token may be needed."""
        identify(state)
        settings = state.settings
        if not settings.registry_url:
            raise Unavailable("no registry is configured: there is nobody to be asked")
        token = request.headers.get(TOKEN, "")
        if not token:
            raise Unauthorized(f"{TOKEN}: missing; give the registry's token")
        who = client_of(
            peer_address(request.remote_addr or ""), request.headers.get("X-Forwarded-For", "").encode(), state.trusted
        )
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": who}
        registry = RegistryClient(settings.registry_url.split(","), timeout=settings.health_timeout, headers=headers)
        try:
            service = registry.drain(quote(name, safe=""), drained)
        except Unauthorized:  # its own words are for programs
            raise Unauthorized("this token is not the registry's write token (token_file)") from None
        log.info("%s %s on the page, by %s", name, "drained" if drained else "undrained", who)
        return {"service": service}

    return ui


def identify(state: RouterState) -> None:
    """Raises Unauthorized where clients need keys, and this one has none."""
    if state.keys is not None:
        told = request.headers
        state.keys.identify(
            told.get("Authorization", "").encode("latin-1"), told.get("x-api-key", "").encode("latin-1")
        )


def _file(name: str) -> Response:
    found = files().get(name)
    if found is None:
        raise NotFound(f"there is no /ui/{name}")
    answer = Response(found.content, content_type=found.kind, headers={**GUARD, "Cache-Control": "no-cache"})
    answer.set_etag(found.digest)
    answer.make_conditional(request)
    return answer
