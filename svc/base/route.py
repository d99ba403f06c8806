"""The routes of a server, for its OpenAPI document and the reference pages."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple


class Route(NamedTuple):
    method: str
    path: str  # the path in Flask's notation, such as /services/<name>
    endpoint: str  # the name of the route's function
    summary: str  # the docstring of the route's function as one line; "" without a docstring


def summary(function: Callable[..., Any]) -> str:
    """Return the docstring of a route's function as one line."""
    return " ".join((inspect.getdoc(function) or "").split())
