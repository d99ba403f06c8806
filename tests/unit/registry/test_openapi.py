import pytest

from svc.registry.app import ROUTES, create_app
from svc.registry.openapi import OPERATIONS, document
from svc.registry.store.sqlite import SqliteStore


@pytest.fixture
def openapi(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    far = {"REMOTE_ADDR": "10.0.0.9"}
    yield create_app(store, lambda url: True).test_client().get("/openapi.json", environ_base=far).get_json()
    store.close()


def test_any_client_gets_the_document_with_exactly_the_routes(openapi):
    described = {(method.upper(), path) for path, methods in openapi["paths"].items() for method in methods}
    assert described == {(method, path.replace("<name>", "{name}")) for method, path, *_ in ROUTES}
    assert {handler for *_, handler in ROUTES} == set(OPERATIONS)


def test_a_route_without_a_description_is_an_error():
    with pytest.raises(KeyError):
        document([("GET", "/new", "open", "brand_new")])


def test_every_reference_resolves(openapi):
    def references(value):
        if isinstance(value, dict):
            yield from [value["$ref"]] if "$ref" in value else []
            value = list(value.values())
        for item in value if isinstance(value, list) else []:
            yield from references(item)

    refs = set(references(openapi))
    assert refs
    for reference in refs:
        node = openapi
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_exactly_the_protected_routes_have_security(openapi):
    for method, path, access, _ in ROUTES:
        operation = openapi["paths"][path.replace("<name>", "{name}")][method.lower()]
        assert ("401" in operation["responses"]) == ("security" in operation) == (access != "open")
        assert ({"secret": []} in operation.get("security", [])) == (access == "write")
