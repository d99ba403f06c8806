"""Ask a router which instance it would choose for a request."""

from collections.abc import Mapping
from typing import Any

from svc.base.errors import NotFound
from svc.client.router_operator import CORRECT_URL, RouterOperator

ROUTE_PATH = "/route"


def ask_route(
    router: RouterOperator, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> dict[str, Any]:
    """Return the router's answer: which instance it would choose for this request, and why. Raise SvcError."""
    query = RouterOperator(router.url, {**headers, **router.headers})
    route = query.request("POST", ROUTE_PATH, body, {"method": method, "path": path})
    if "candidates" not in route:
        raise NotFound(f"what answers at {router.url} is no router: {ROUTE_PATH} has no candidates; {CORRECT_URL}")
    return route
