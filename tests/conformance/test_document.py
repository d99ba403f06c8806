"""docs/CLIENTS.md, the list of clients and the record of the tests agree; what cannot be installed is skipped."""

import json

import pytest

from tests.conformance import environments, record
from tests.conformance.clients import CLIENTS, Client
from tests.conformance.document import KEY, MODEL, ROUTER_URL, examples
from tests.conformance.engines import ENGINES

RECORD = json.loads(record.RECORD.read_text())


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.title)
def test_a_section_names_the_address_the_model_and_the_key(client: Client):
    text = "".join(example.text for example in examples(client.title))
    assert ROUTER_URL in text
    assert MODEL in text
    assert KEY in text


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.title)
def test_the_version_of_a_client_is_the_one_that_was_recorded(client: Client):
    row = RECORD["clients"][client.title]
    separator = {"python": "==", "npm": "@"}[client.environment.kind]
    ((name, version),) = row["packages"].items()
    assert f"{name}{separator}{version}" == client.environment.packages[0]
    assert tuple(row.get("features", ())) == client.features


def test_every_recorded_client_and_engine_is_tested():
    assert RECORD["clients"].keys() == {client.title for client in CLIENTS}
    assert RECORD["engines"].keys() <= {engine.title for engine in ENGINES}


def test_a_package_that_cannot_be_installed_skips_the_test_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(environments, "CACHE", tmp_path)
    environment = environments.python("llm", install_flags=("--no-index", "--find-links", str(tmp_path)))
    with pytest.raises(pytest.skip.Exception, match="cannot install llm: ERROR: No matching distribution"):
        environment.install()
