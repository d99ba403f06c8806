"""The router's /openapi.json describes every route, and the answers are as it says."""

import pytest

from svc.base.flask_app import routes
from svc.base.route import Route
from svc.config import router_keys
from svc.protocol.openapi import path_template
from svc.router.app import create_app
from svc.router.http.allowed_paths import INFERENCE
from svc.router.openapi import document
from svc.router.proxy.api_keys import ApiKeys
from tests import openapi
from tests.unit.router.examples import state, target

GETS = ("/livez", "/readyz", "/health", "/status", "/models", "/v1/models", "/services", "/stats", "/metrics", "/ui")


@pytest.fixture
def app():
    return create_app(state(target("a", "m", metadata={"models_list": [{"id": "m", "max_model_len": 9}]})))


@pytest.fixture
def described(app):
    return app.test_client().get("/openapi.json").get_json()


def test_it_describes_the_routes_of_the_router_and_what_it_relays(app, described):
    assert {(route.method, path_template(route.path)) for route in routes(app)} <= openapi.routes(described)
    assert {("POST", path) for paths in INFERENCE.values() for path in paths.split()} <= openapi.routes(described)
    assert ("DELETE", "/v1/responses/{id}") in openapi.routes(described)
    assert openapi.unresolved(described) == []


def test_every_operation_has_a_summary_and_a_name_of_its_own(described):
    operations = [operation for methods in described["paths"].values() for operation in methods.values()]
    assert all(operation["summary"] for operation in operations)
    assert len({operation["operationId"] for operation in operations}) == len(operations)


@pytest.mark.parametrize("path", GETS)
def test_answers_have_the_described_fields_and_no_others(app, described, path):
    openapi.check(described, "GET", path, app.test_client().get(path))


def test_errors_and_single_models_are_as_described(app, described):
    client = app.test_client()
    for model in ("m", "unknown"):
        openapi.check(described, "GET", "/v1/models/{model}", client.get(f"/v1/models/{model}"))
    openapi.check(described, "GET", "/ui/{name}", client.get("/ui/none.js"))
    openapi.check(described, "POST", "/ui/drain/{name}", client.post("/ui/drain/a"))


def test_refused_wakes_are_as_described(app, described):
    client = app.test_client()
    for path, name, body in (
        ("/instances/{name}/wake", "a", None),
        ("/instances/{name}/wake", "none", None),
        ("/instances/{name}/sleep", "a", None),
        ("/models/{model}/wake", "m", {}),
        ("/models/{model}/wake", "none/of/these", None),
    ):
        answer = client.post(path.replace("{name}", name).replace("{model}", name), json=body)
        assert answer.status_code == (404 if name.startswith("none") else 409)
        openapi.check(described, "POST", path, answer)


def test_it_needs_no_key_and_names_the_endpoints_that_do(tmp_path, described):
    (tmp_path / "keys.toml").write_text(router_keys.render({}))
    router = state(target("a", "m"))
    router.keys = ApiKeys(tmp_path / "keys.toml")
    client = create_app(router).test_client()
    assert client.get("/openapi.json").status_code == 200
    for path in GETS:
        operation = described["paths"][path]["get"]
        assert ("security" in operation) == (client.get(path).status_code == 401) or path == "/metrics", path


def test_routes_of_requests_are_as_described(app, described):
    client = app.test_client()
    for query in ("", "?path=/v1/responses/x&method=GET", "?path=/none", "?other=1"):
        openapi.check(described, "POST", "/route", client.post(f"/route{query}", json={"model": "m"}))


def test_a_route_without_a_description_is_an_error():
    with pytest.raises(KeyError):
        document([Route("GET", "/new", "own.brand_new", "New.")])
