import pytest

from svc.registry.app import ROUTES, create_app
from svc.registry.openapi import OPERATIONS, document
from svc.registry.store.sqlite import SqliteStore


@pytest.fixture
def told(tmp_path):
    store = SqliteStore(tmp_path / "registry.db")
    far = {"REMOTE_ADDR": "10.0.0.9"}
    yield create_app(store, lambda url: True).test_client().get("/openapi.json", environ_base=far).get_json()
    store.close()


def test_it_is_served_to_anybody_and_has_every_route_and_no_other(told):
    described = {(method.upper(), path) for path, methods in told["paths"].items() for method in methods}
    assert described == {(method, path.replace("<name>", "{name}")) for method, path, *_ in ROUTES}
    assert {handler for *_, handler in ROUTES} == set(OPERATIONS)


def test_a_route_that_is_not_described_is_an_error():
    with pytest.raises(KeyError):
        document([("GET", "/new", "open", "brand_new")])


def test_every_reference_leads_somewhere(told):
    def references(value):
        if isinstance(value, dict):
            yield from [value["$ref"]] if "$ref" in value else []
            value = list(value.values())
        for one in value if isinstance(value, list) else []:
            yield from references(one)

    found = set(references(told))
    assert found
    for reference in found:
        at = told
        for step in reference.removeprefix("#/").split("/"):
            at = at[step]


def test_what_needs_a_token_says_so_and_what_is_open_does_not(told):
    for method, path, access, _ in ROUTES:
        operation = told["paths"][path.replace("<name>", "{name}")][method.lower()]
        assert ("401" in operation["responses"]) == ("security" in operation) == (access != "open")
        assert ({"secret": []} in operation.get("security", [])) == (access == "write")
