"""What our Flask apps share: errors in the contract's shape, and which svc it is."""

import logging

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from svc.base import version
from svc.base.errors import BadRequest, NotAllowed, NotFound, SvcError, TooLarge, body

log = logging.getLogger(__name__)
KINDS: dict[int | None, type[SvcError]] = {404: NotFound, 405: NotAllowed, 413: TooLarge}


def install_errors(app: Flask) -> None:
    """Every failure answers with the error object, none with a page or a traceback."""

    @app.errorhandler(SvcError)
    def told(error: SvcError) -> tuple[Response, int, dict[str, str]]:
        return jsonify(body(error)), error.status, error.headers()

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> tuple[Response, int, dict[str, str]]:
        kind = KINDS.get(error.code, BadRequest)
        allowed = getattr(error, "valid_methods", None)
        headers = {"Allow": ", ".join(sorted(allowed))} if allowed else {}
        return jsonify(body(kind(error.description or error.name))), error.code or 500, headers

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> tuple[Response, int]:
        log.exception("unexpected failure")
        return jsonify(body(SvcError("internal error; the log has the details"))), 500


def install_version(app: Flask) -> None:
    """/health says which code runs: after an upgrade, that need not be what is installed."""
    told = version.running()

    @app.after_request
    def which(answer: Response) -> Response:
        if request.path == "/health":
            answer.headers[version.HEADER] = told
        return answer
