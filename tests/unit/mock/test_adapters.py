"""LoRA adapters of the mock, over its own HTTP: as vLLM answers."""

import pytest

from tests.unit.mock.site import Site

LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
SQL = {"lora_name": "sql", "lora_path": "/adapters/sql"}


@pytest.fixture
def site() -> Site:
    return Site()


def listed(site: Site) -> list[str]:
    return [model["id"] for model in site.json("GET", "/v1/models")["data"]]


def chat(site: Site, model: str) -> str:
    site.call("POST", "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "x"}]})
    return site.status[:3]


def test_a_loaded_adapter_is_listed_with_its_base_and_answers(site):
    assert site.call("POST", LOAD, SQL) == b"Success: LoRA adapter 'sql' added successfully."
    assert site.status.startswith("200")
    assert listed(site) == ["a", "b/c", "sql"]
    adapter = site.json("GET", "/v1/models")["data"][-1]
    assert (adapter["root"], adapter["parent"], adapter["object"]) == ("/adapters/sql", "a", "model")
    assert chat(site, "sql") == "200"


def test_an_unloaded_adapter_is_gone(site):
    site.call("POST", LOAD, SQL)
    assert site.call("POST", UNLOAD, {"lora_name": "sql"}) == b"Success: LoRA adapter 'sql' removed successfully."
    assert listed(site) == ["a", "b/c"]
    assert chat(site, "sql") == "404"


def test_an_adapter_is_loaded_twice_only_in_place(site):
    site.call("POST", LOAD, SQL)
    site.call("POST", LOAD, SQL)
    assert site.status.startswith("400")
    site.call("POST", LOAD, {**SQL, "lora_path": "/adapters/sql2", "load_inplace": True})
    assert site.status.startswith("200")
    assert site.json("GET", "/v1/models")["data"][-1]["root"] == "/adapters/sql2"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (LOAD, {"lora_name": "sql"}, "400"),
        (LOAD, {"lora_path": "/x"}, "400"),
        (UNLOAD, {}, "400"),
        (UNLOAD, {"lora_name": "sql"}, "404"),
    ],
)
def test_a_request_that_names_no_adapter_is_refused(site, path, body, status):
    assert "lora" in site.json("POST", path, body)["error"]["message"]
    assert site.status.startswith(status)
