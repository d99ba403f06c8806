"""The babysitter's /openapi.json describes every route, and the answers are as it says."""

import pytest

from svc.babysitter.openapi import document
from svc.base.route import Route
from tests import openapi


@pytest.fixture
def described(client):
    return client.get("/openapi.json").get_json()


def test_it_describes_exactly_the_routes(client, described):
    assert openapi.routes(described) == {(route.method, route.path) for route in client.application.routes()}
    assert openapi.unresolved(described) == []
    assert all(operation["summary"] for methods in described["paths"].values() for operation in methods.values())


@pytest.mark.parametrize("is_ready", [True, False])
def test_answers_have_the_described_fields_and_no_others(instance, client, described, is_ready):
    instance.models = [{"id": "a", "object": "model"}] if is_ready else []
    instance.advance()
    for path in ("/health", "/models", "/v1/models", "/info", "/metrics"):
        openapi.check(described, "GET", path, client.get(path))
    openapi.check(described, "POST", "/models/refresh", client.post("/models/refresh"))


def test_a_route_without_a_description_is_an_error():
    with pytest.raises(KeyError):
        document([Route("GET", "/new", "brand_new", "New.")])
