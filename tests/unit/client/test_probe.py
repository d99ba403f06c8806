"""Health by the status of an answer, and the model lists of servers."""

import json
from collections.abc import Iterator

import pytest

from svc.base.dial import AddressRefused
from svc.client import probe
from tests.integration.router.certificates import make_certificate
from tests.unit.client.page_server import PageServer
from tests.unit.client.slow_server import SlowServer

MODELS = json.dumps({"data": [{"id": "a"}, {"id": ""}, "b", {"id": "c"}]})


@pytest.fixture
def server() -> Iterator[PageServer]:
    started = PageServer({"/health": (200, "x" * 100), "/moved": (302, ""), "/v1/models": (200, MODELS)})
    yield started
    started.close()


def names(models: probe.ModelList) -> list[str] | None:
    return None if models.models is None else [model["id"] for model in models.models]


def test_an_answer_is_its_status_and_the_beginning_of_its_body(server):
    assert probe.answer(server.url + "/health?a=b", 10) == (404, b"")
    assert probe.answer(server.url + "/health", 10, max_body=7) == (200, b"x" * 7)
    assert server.paths == ["/health?a=b", "/health"]


def test_a_redirect_is_not_followed(server):
    assert probe.status(server.url + "/moved", 10) == 302
    assert server.paths == ["/moved"]


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/"])
def test_an_unusable_url_has_no_answer(url):
    assert probe.answer(url, 10) == (0, b"")


def test_a_server_that_is_away_has_no_answer(server):
    server.close()
    assert probe.answer(server.url + "/health", 10) == (0, b"")
    assert probe.model_list(server.url, 10) == (None, 0)


def test_an_address_that_is_not_allowed_gets_no_request(server):
    with pytest.raises(AddressRefused, match="not in the cluster"):
        probe.answer(server.url + "/health", 10, rejection_reason=lambda *address: "not in the cluster")
    assert server.paths == []


def test_a_key_is_sent_as_a_bearer_token(server):
    probe.status(server.url + "/health", 10, key="secret")
    probe.model_list(server.url, 10, key="secret")
    assert server.authorizations == ["Bearer secret"] * 2


def test_unusable_entries_of_a_model_list_are_left_out(server):
    models = probe.model_list(server.url + "/", 10)
    assert (names(models), models.status) == (["a", "c"], 200)


@pytest.mark.parametrize("page", [(404, ""), (200, "<html>"), (200, "[" * 100_000), (200, '{"data": []}'), (200, "[]")])
def test_a_server_without_a_list_at_v1_is_asked_at_models(server, page):
    server.pages |= {"/v1/models": page, "/models": (200, MODELS)}
    assert names(probe.model_list(server.url, 10)) == ["a", "c"]


def test_a_list_that_is_too_large_is_not_read_to_its_end(server, monkeypatch):
    monkeypatch.setattr(probe, "MAX_MODEL_LIST_BYTES", 10_000)
    server.pages |= {"/v1/models": (200, MODELS + " " * 20_000), "/models": (200, MODELS + " " * 5_000)}
    assert names(probe.model_list(server.url, 10)) == ["a", "c"]
    assert server.paths == ["/v1/models", "/models"]


@pytest.mark.parametrize("slow_part", ["head", "body"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_single_bytes_do_not_extend_the_time_for_a_list(slow_part, scheme, tmp_path):
    slow = SlowServer(MODELS, slow_part, make_certificate(tmp_path, "slow") if scheme == "https" else None)
    try:
        assert probe.model_list(slow.url, 2, verify=False) == (None, 0)
        assert slow.connection_ended.wait(10)
        assert 0 < slow.sent_bytes < slow.total_bytes
    finally:
        slow.close()


def test_a_list_in_time_is_read_with_a_deadline_and_over_tls(tmp_path):
    quick = SlowServer(MODELS, "", make_certificate(tmp_path, "quick"))
    try:
        assert names(probe.model_list(quick.url, 10, verify=False)) == ["a", "c"]
    finally:
        quick.close()


def test_an_empty_list_is_a_list(server):
    server.pages["/v1/models"] = (200, '{"data": []}')
    assert names(probe.model_list(server.url, 10)) == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_not_sent_a_second_time(server, status):
    server.pages["/v1/models"] = (status, "{}")
    assert probe.model_list(server.url, 10, key="wrong") == (None, status)
    assert server.paths == ["/v1/models"]


@pytest.mark.parametrize("status", [200, 204])
def test_a_2xx_is_healthy(status):
    assert probe.status_is_healthy(status, required=True)
    assert probe.status_is_healthy(status, required=False)


@pytest.mark.parametrize("status", [0, 500, 502, 503, 504])
def test_no_answer_and_a_5xx_are_not_healthy(status):
    assert not probe.status_is_healthy(status, required=True)
    assert not probe.status_is_healthy(status, required=False)


@pytest.mark.parametrize("status", [302, 401, 404, 405, 501])
def test_a_server_without_the_endpoint_is_healthy_unless_it_is_required(status):
    assert probe.status_is_healthy(status, required=False)
    assert not probe.status_is_healthy(status, required=True)
