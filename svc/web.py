"""What our Flask apps share: errors in the contract's shape."""

import logging

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from svc.errors import BadRequest, NotAllowed, NotFound, SvcError, TooLarge, body

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
