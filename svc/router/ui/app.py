"""The endpoints at /ui: the page and its files, its event stream, and an operator's actions drain and undrain."""

import hashlib
import logging
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as WerkzeugResponse

from svc.base.errors import NotFound, Unauthorized, Unavailable
from svc.protocol.event import OPERATOR_TOKEN_HEADER
from svc.router.access import (
    WRONG_TOKEN,
    client_address,
    identify,
    identify_unrestricted,
    operators_registry,
    require_operator,
)
from svc.router.state import RouterState
from svc.router.ui.feed import Feed
from svc.router.waking.babysitters import SILENT, Babysitters
from svc.router.waking.endpoint import instance_on_demand

log = logging.getLogger(__name__)
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
PAGE_PATH = "/ui"
PAGE_DIRECTORY = Path(__file__).parents[1] / "page"
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
INDEX = "index.html"


class PageFile(NamedTuple):
    content: bytes
    content_type: str
    digest: str


@cache
def page_files() -> dict[str, PageFile]:
    """Return a dict from name to file with all files of the page. They are read when the first page is opened."""
    files = {}
    for path in sorted(PAGE_DIRECTORY.rglob("*")):
        if content_type := CONTENT_TYPES.get(path.suffix):
            content = path.read_bytes()
            name = path.relative_to(PAGE_DIRECTORY).as_posix()
            files[name] = PageFile(content, content_type, hashlib.sha256(content).hexdigest()[:16])
    return files


def page(state: RouterState, feed: Feed) -> Blueprint:
    ui = Blueprint("ui", __name__, url_prefix=PAGE_PATH)

    @ui.get("")
    def index() -> Response:
        """The page without data; it needs no key."""
        return _file(INDEX)

    @ui.get("/")
    def slash() -> WerkzeugResponse:
        """Redirects to /ui."""
        return redirect(PAGE_PATH, 308)

    @ui.get("/<path:name>")
    def file(name: str) -> Response:
        """A file of the page; it needs no key."""
        return _file(name)

    @ui.get("/stream")
    def stream() -> Response:
        """Everything that the page shows, as server-sent events; 429 if too many pages are open."""
        identify_unrestricted(state)
        if state.draining:
            raise Unavailable("the router is stopping")
        return Response(feed.open(), mimetype="text/event-stream", headers={"Cache-Control": "no-store"})

    @ui.post("/drain/<name>")
    def drain(name: str) -> dict[str, Any]:
        """Drain the instance: it gets no new requests. Needs the operator's token in X-Operator-Token."""
        return _set_drained(name, True)

    @ui.post("/undrain/<name>")
    def undrain(name: str) -> dict[str, Any]:
        """Undrain the instance: it gets new requests again. Needs the operator's token in X-Operator-Token."""
        return _set_drained(name, False)

    @ui.get("/wake/<name>")
    def wake_offer(name: str) -> dict[str, Any]:
        """Whether there is room to wake an instance on demand, and if not, why. Operators only; it wakes nothing."""
        require_operator(state)
        offer = Babysitters(state.settings.upstream_ca).offers([instance_on_demand(state, name)])[name]
        if offer is None:
            raise Unavailable(f"{name}: {SILENT}")
        return {"name": name, "possible": offer.possible, "now": offer.now, "reason": offer.reason}

    def _set_drained(name: str, drained: bool) -> dict[str, Any]:
        """Drain or undrain an instance in the registry, with the operator's token and address."""
        identify(state)
        if not state.settings.registry_url:
            raise Unavailable(
                "cannot drain: no registry is configured; set registry_url under [router] in config/svc.toml"
            )
        token = request.headers.get(OPERATOR_TOKEN_HEADER, "")
        if not token:
            raise Unauthorized(f"{OPERATOR_TOKEN_HEADER}: missing; give the registry's token")
        registry = operators_registry(state, token)
        try:
            service = registry.drain(quote(name, safe=""), drained)
        except Unauthorized:  # the registry's own message is for programs, so operators get another one
            raise Unauthorized(WRONG_TOKEN) from None
        log.info("%s %s on the page, by %s", name, "drained" if drained else "undrained", client_address(state))
        return {"service": service}

    return ui


def _file(name: str) -> Response:
    file = page_files().get(name)
    if file is None:
        raise NotFound(f"there is no /ui/{name}")
    headers = {**SECURITY_HEADERS, "Cache-Control": "no-cache"}
    response = Response(file.content, content_type=file.content_type, headers=headers)
    response.set_etag(file.digest)
    response.make_conditional(request)
    return response
