"""LoRA adapters of the mock, with the answers of vLLM."""

import pytest

from tests.unit.mock.in_process import InProcessMock

LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
SQL = {"lora_name": "sql", "lora_path": "/adapters/sql"}


@pytest.fixture
def mock() -> InProcessMock:
    return InProcessMock()


def listed_ids(mock: InProcessMock) -> list[str]:
    return [model["id"] for model in mock.json("GET", "/v1/models")["data"]]


def chat(mock: InProcessMock, model: str) -> str:
    mock.call("POST", "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "x"}]})
    return mock.status[:3]


def test_a_loaded_adapter_is_listed_with_its_base_and_answers(mock):
    assert mock.call("POST", LOAD, SQL) == b"Success: LoRA adapter 'sql' added successfully."
    assert mock.status.startswith("200")
    assert listed_ids(mock) == ["a", "b/c", "sql"]
    adapter = mock.json("GET", "/v1/models")["data"][-1]
    assert (adapter["root"], adapter["parent"], adapter["object"]) == ("/adapters/sql", "a", "model")
    assert chat(mock, "sql") == "200"


def test_an_unloaded_adapter_is_not_listed_and_does_not_answer(mock):
    mock.call("POST", LOAD, SQL)
    assert mock.call("POST", UNLOAD, {"lora_name": "sql"}) == b"Success: LoRA adapter 'sql' removed successfully."
    assert listed_ids(mock) == ["a", "b/c"]
    assert chat(mock, "sql") == "404"


def test_an_adapter_can_be_loaded_again_only_in_place(mock):
    mock.call("POST", LOAD, SQL)
    mock.call("POST", LOAD, SQL)
    assert mock.status.startswith("400")
    mock.call("POST", LOAD, {**SQL, "lora_path": "/adapters/sql2", "load_inplace": True})
    assert mock.status.startswith("200")
    assert mock.json("GET", "/v1/models")["data"][-1]["root"] == "/adapters/sql2"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (LOAD, {"lora_name": "sql"}, "400"),
        (LOAD, {"lora_path": "/x"}, "400"),
        (UNLOAD, {}, "400"),
        (UNLOAD, {"lora_name": "sql"}, "404"),
    ],
)
def test_a_request_that_names_no_adapter_is_refused(mock, path, body, status):
    assert "lora" in mock.json("POST", path, body)["error"]["message"]
    assert mock.status.startswith(status)
