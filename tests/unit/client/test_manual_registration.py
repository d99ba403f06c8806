"""The registrations of services without a babysitter, against a server that answers some paths."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from svc.base.errors import CommandError
from svc.client.manual_registration import PlainService, registration
from svc.registry import validation
from tests.unit.client.page_server import PageServer
from tests.waiting import free_port

LIST = json.dumps({"data": [{"id": "whisper", "object": "model"}, {"id": "tts", "object": "model"}]})


@pytest.fixture
def described() -> Iterator[Callable[..., dict[str, Any]]]:
    """Return a function that describes a server with these pages."""
    servers = []

    def describe(pages: dict[str, tuple[int, str]], **fields: Any) -> dict[str, Any]:
        servers.append(server := PageServer(pages))
        port = int(server.url.rpartition(":")[2])
        return registration(PlainService(name="speech", host="127.0.0.1", port=port, **fields))

    yield describe
    for server in servers:
        server.close()


def test_models_and_health_path_are_read_from_the_service(described):
    made = described({"/health": (200, ""), "/v1/models": (200, LIST)}, weight=3, metadata={"cache_type": "paged"})
    url = made["url"]
    assert (made["name"], made["hostname"], made["status"], made["weight"]) == ("speech", "127.0.0.1", "running", 3)
    assert made["metadata"] == {
        "cache_type": "paged",
        "type": "openai-api",
        "static": True,
        "health_url": f"{url}/health",
        "models": ["whisper", "tts"],
        "models_list": json.loads(LIST)["data"],
    }
    assert validation.parse_registration(made, 1.0).is_healthy()


def test_a_server_without_a_health_endpoint_is_checked_at_its_list(described):
    assert described({"/models": (200, LIST)})["metadata"]["health_url"].endswith("/models")


def test_what_the_operator_says_is_not_read():
    port = free_port()
    service = PlainService(name="a", host="::1", port=port, models=("m",), health_path="/up")
    made = registration(service)
    assert made["url"] == f"http://[::1]:{port}"
    assert (made["metadata"]["models"], made["metadata"]["health_url"]) == (["m"], f"http://[::1]:{port}/up")


def test_another_type_needs_no_models(described):
    assert "models" not in described({"/": (200, "")}, type="database")["metadata"]


@pytest.mark.parametrize(
    ("pages", "fields", "message"),
    [
        ({}, {}, r"no path that answers 200 \(/health 404, .*--health-path"),
        ({"/health": (200, "")}, {}, "lists no models .* --model"),
        ({"/health": (503, ""), "/v1/models": (302, "")}, {"models": ("m",)}, "/health 503, /v1/models 302"),
    ],
)
def test_what_is_missing_is_an_error_with_its_option(described, pages, fields, message):
    with pytest.raises(CommandError, match=message):
        described(pages, **fields)


def test_a_service_that_does_not_run_is_an_error():
    with pytest.raises(CommandError, match="nothing answers at .*; start a first, or give --health-path and --model"):
        registration(PlainService(name="a", host="127.0.0.1", port=free_port()))
