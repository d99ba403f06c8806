"""The parts that the Flask apps of svc share: errors in OpenAI's format, the version in /health, the list of routes."""

import logging

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from svc.base import version
from svc.base.errors import BadRequest, NotAllowed, NotFound, SvcError, TooLarge, error_object, internal_error
from svc.base.route import Route, summary

log = logging.getLogger(__name__)
ERRORS_BY_STATUS: dict[int | None, type[SvcError]] = {404: NotFound, 405: NotAllowed, 413: TooLarge}


def install_errors(app: Flask) -> None:
    """Make the app answer every failure with an OpenAI error object, never with an HTML page or a traceback."""

    @app.errorhandler(SvcError)
    def svc_error(error: SvcError) -> tuple[Response, int, dict[str, str]]:
        return jsonify(error_object(error)), error.status, error.headers()

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> tuple[Response, int, dict[str, str]]:
        error_type = ERRORS_BY_STATUS.get(error.code, BadRequest)
        allowed = getattr(error, "valid_methods", None)
        headers = {"Allow": ", ".join(sorted(allowed))} if allowed else {}
        return jsonify(error_object(error_type(error.description or error.name))), error.code or 500, headers

    @app.errorhandler(Exception)
    def unexpected_error(error: Exception) -> tuple[Response, int]:
        log.exception("unexpected failure")
        return jsonify(error_object(internal_error())), 500


def install_version(app: Flask) -> None:
    """Add a header with the version of the running code to each response of /health.

    After an upgrade, the running version differs from the installed version until the program is restarted.
    """
    running_version = version.running()

    @app.after_request
    def add_version(response: Response) -> Response:
        if request.path == "/health":
            response.headers[version.HEADER] = running_version
        return response


def routes(app: Flask) -> list[Route]:
    """Return the app's routes, sorted by path, without HEAD and OPTIONS, which Flask adds."""
    return [
        Route(method, str(rule), rule.endpoint, summary(app.view_functions[rule.endpoint]))
        for rule in sorted(app.url_map.iter_rules(), key=str)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]
