"""A JsonApp answers as a Flask app of svc with the same endpoints, and needs no Flask."""

import subprocess
import sys

import pytest
from flask import Flask, jsonify, request
from werkzeug.test import Client

from svc.base.errors import Forbidden, RateLimited, Unauthorized
from svc.base.flask_app import install_errors, install_version, routes
from svc.base.json_app import JsonApp, Response, json_response
from svc.base.route import Route

ERRORS = {"limited": RateLimited("too many", 2.5), "key": Unauthorized("no key"), "bug": KeyError("secret")}
VALUE = {"name": "böse", "list": [1, None, 2.5], "a": {"z": True, "b": ""}}


def fail():
    raise ERRORS[request.headers["kind"]]


def refuse_strangers(headers):
    if headers.get("origin"):
        raise Forbidden("a page may not")


@pytest.fixture
def flask_client():
    app = Flask(__name__, static_folder=None)
    install_errors(app)
    install_version(app)
    app.before_request(lambda: refuse_strangers(request.headers))
    app.get("/health")(lambda: (jsonify(VALUE), 503))
    app.get("/echo", endpoint="read")(lambda: "text")
    app.post("/echo", endpoint="echo")(lambda: jsonify(request.get_data(as_text=True)))
    app.get("/fail", endpoint="fail")(fail)
    return Client(app)


@pytest.fixture
def app():
    app = JsonApp(lambda request: refuse_strangers(request.headers))

    @app.get("/health")
    def health(request):
        return json_response(VALUE, 503)

    @app.get("/echo")
    def read(request):
        return Response(b"text", content_type="text/html; charset=utf-8")

    @app.post("/echo")
    def echo(request):
        """The body,
        as it came."""
        return json_response(request.body().decode())

    @app.get("/fail")
    def fail(request):
        raise ERRORS[request.headers.get("kind")]

    return app


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("GET", "/health", {}, b""),
        ("HEAD", "/health", {}, b""),
        ("GET", "/health?verbose=1", {}, b""),
        ("GET", "/health", {"Origin": "http://elsewhere"}, b""),
        ("GET", "/%68ealth", {}, b""),
        ("POST", "/health", {}, b"{}"),
        ("DELETE", "/echo", {}, b""),
        ("GET", "/echo", {}, b""),
        ("POST", "/echo", {}, b"abc"),
        ("POST", "/echo", {}, b""),
        ("GET", "/nowhere", {}, b""),
        ("GET", "/health/", {}, b""),
        ("POST", "/b%C3%B6se", {}, b""),
        ("OPTIONS", "/nowhere", {}, b""),
        ("GET", "/fail", {"Kind": "limited"}, b""),
        ("GET", "/fail", {"Kind": "key"}, b""),
        ("GET", "/fail", {"Kind": "bug"}, b""),
    ],
)
def test_it_answers_as_flask(app, flask_client, method, path, headers, body):
    own, flask = (
        client.open(path, method=method, headers=headers, data=body) for client in (Client(app), flask_client)
    )
    assert (own.status_code, own.data) == (flask.status_code, flask.data)
    assert sorted(own.headers) == sorted(flask.headers)


@pytest.mark.parametrize(
    ("path", "methods"), [("/health", "GET, HEAD, OPTIONS"), ("/echo", "GET, HEAD, OPTIONS, POST")]
)
def test_options_names_the_methods(app, path, methods):
    answer = Client(app).options(path)
    assert (answer.status_code, answer.headers["Allow"], answer.data) == (200, methods, b"")


def test_a_body_that_breaks_off_is_a_bad_request(app):
    class Broken:
        def read(self, size):
            raise OSError("unexpected end of file")

    answer = Client(app).post("/echo", environ_overrides={"wsgi.input": Broken(), "CONTENT_LENGTH": "9"})
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "bad_request")


def test_its_routes_are_described(app, flask_client):
    described = app.routes()
    assert {route[:2] for route in described} == {route[:2] for route in routes(flask_client.application)}
    assert Route("POST", "/echo", "echo", "The body, as it came.") in described


def test_a_babysitter_starts_without_flask():
    code = "import svc.babysitter.serve, sys; print({'flask', 'werkzeug', 'jinja2'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
