"""GET /usage: what keys, users and models have used, for operators."""

import time

import msgspec
from flask import Blueprint, Response, request

from svc.base.errors import BadRequest, NotFound
from svc.base.local_time import TODAY, parse_time
from svc.protocol.usage import DEFAULT_DIMENSIONS, parse_dimensions
from svc.router.access import require_operator
from svc.router.state import RouterState

PARAMETERS = ("by", "since", "until")
NO_LEDGER = "this router does not count usage; name a file with usage_file under [router] in config/svc.toml"


def usage_endpoint(state: RouterState) -> Blueprint:
    api = Blueprint("usage", __name__)

    @api.get("/usage")
    def usage() -> Response:
        """What keys, users and models have used, for operators: sums of requests, tokens and seconds."""
        require_operator(state)
        if state.ledger is None:
            raise NotFound(NO_LEDGER)
        if unknown := sorted(request.args.keys() - set(PARAMETERS)):
            raise BadRequest(f"{unknown[0]}: unknown; there are {', '.join(PARAMETERS)}", param=unknown[0])
        now = time.time()
        by, since = _dimensions(), _time("since", TODAY, now)
        until = _time("until", "", now) if request.args.get("until") else now + 1
        rows = msgspec.Raw(state.ledger.read(by, since, until))
        report = {"since": since, "until": until, "by": by, "rows": rows, "recent": state.ledger.recent()}
        content = msgspec.json.encode({**report, "problem": state.ledger.problem})
        return Response(content, content_type="application/json", headers={"Cache-Control": "no-store"})

    return api


def _dimensions() -> tuple[str, ...]:
    try:
        return parse_dimensions(request.args.get("by", ",".join(DEFAULT_DIMENSIONS)))
    except ValueError as error:
        raise BadRequest(f"by: {error}", param="by") from None


def _time(name: str, default: str, now: float) -> float:
    try:
        return parse_time(request.args.get(name, default), now)
    except ValueError as error:
        raise BadRequest(f"{name}: {error}", param=name) from None
