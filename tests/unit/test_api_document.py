"""docs/API.md names every endpoint of the three servers and has a command for each."""

import re
from pathlib import Path
from typing import Any

import pytest

from svc.babysitter.app import create_app as create_babysitter_app
from svc.base.flask_app import routes
from svc.registry.app import ROUTES
from svc.router.app import create_app as create_router_app
from tests.documents.blocks import ROOT, blocks
from tests.unit.router.examples import state

DOCUMENT = Path("docs/API.md")
ROUTER, REGISTRY, BABYSITTER = 8000, 18000, 8101
PAGE = {("GET", "/"), ("GET", "/ui/"), ("GET", "/ui/<path:name>")}  # its files, and redirects to it: no API
CURL = re.compile(r"curl\b(?P<flags>[^|]*?)['\"]?http://localhost:(?P<port>\d+)(?P<path>/[^\s'\"?]*)(?P<rest>.*)", re.S)


def endpoints() -> list[tuple[int, str, str]]:
    unused: Any = None  # the routes are listed, not called
    babysitter = create_babysitter_app(unused, unused, unused, unused, unused)
    of_apps = ((ROUTER, routes(create_router_app(state()))), (BABYSITTER, babysitter.routes()))
    listed = [(port, route.method, route.path) for port, listed in of_apps for route in listed]
    return [(REGISTRY, method, path) for method, path, _, _ in ROUTES] + [e for e in listed if e[1:] not in PAGE]


def requests() -> list[tuple[int, str, str]]:
    """Return port, method and path of every curl of the document."""
    sent = []
    for block in blocks(DOCUMENT):
        for command in re.split(r"^(?=curl)|(?<=\()(?=curl)|(?<=\$\()(?=curl)", block.text, flags=re.M):
            if match := CURL.match(command):
                arguments = match["flags"] + match["rest"]
                method = re.search(r"-X (\w+)", arguments)
                default = "POST" if re.search(r"(^|\s)-d ", arguments) else "GET"
                sent.append((int(match["port"]), method[1] if method else default, match["path"]))
    return sent


@pytest.mark.parametrize("endpoint", endpoints(), ids=lambda endpoint: "{} {} {}".format(*endpoint))
def test_an_endpoint_is_named_and_has_a_command(endpoint):
    port, method, path = endpoint
    name = re.sub(r"<name>", "NAME", re.sub(r"<id:\w+>", "ID", path))
    assert re.search(rf"`({method} )?{re.escape(name)}`", (ROOT / DOCUMENT).read_text()), name
    pattern = re.compile(re.sub(r"<[^>]+>", "[^/]+", path))
    assert any(p == port and m == method and pattern.fullmatch(place) for p, m, place in requests())
