"""Every failure of a Flask app is an OpenAI error object, and /health has the version."""

import pytest
from flask import Flask

from svc.base import version
from svc.base.errors import RateLimited, TooLarge
from svc.base.flask_app import install_errors, install_version


@pytest.fixture
def client():
    app = Flask(__name__)
    install_errors(app)
    install_version(app)

    def fail(kind: str) -> str:
        raise {"limited": RateLimited("too many", 2.5), "large": TooLarge("too large"), "bug": KeyError("secret")}[kind]

    app.add_url_rule("/fail/<kind>", view_func=fail)
    app.add_url_rule("/health", view_func=lambda: "ok", endpoint="health")
    return app.test_client()


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/fail/limited", 429, "rate_limit_exceeded"),
        ("/fail/large", 413, "request_too_large"),
        ("/fail/bug", 500, "internal_error"),
        ("/nowhere", 404, "not_found"),
    ],
)
def test_a_failure_is_an_error_object(client, path, status, code):
    answer = client.get(path)
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)


def test_the_headers_of_an_error_are_sent(client):
    assert client.get("/fail/limited").headers["Retry-After"] == "3"


def test_a_refused_method_names_the_allowed_ones(client):
    answer = client.post("/health")
    assert (answer.status_code, answer.json["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_an_unexpected_failure_does_not_show_its_cause(client):
    assert "secret" not in client.get("/fail/bug").text


def test_only_health_has_the_version(client):
    assert client.get("/health").headers[version.HEADER] == version.running()
    assert version.HEADER not in client.get("/nowhere").headers
