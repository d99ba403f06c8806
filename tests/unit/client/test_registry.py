"""The requests of the registry's client, against HTTP servers that record them."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
import requests

from svc.base.errors import Forbidden, NotFound, RateLimited, SvcError, Unauthorized, Unavailable
from svc.client.registry import RegistryClient, RegistryFailed, ServiceList
from tests.unit.client.page_server import PageServer


class Server:
    """A server that answers every path; with `status` 0 it closes the connection instead."""

    def __init__(self) -> None:
        self.status = 200
        self.index: str | None = "7"
        self.retry_after: str | None = None
        self.queries: list[dict[str, list[str]]] = []
        self.open = threading.Event()  # lets requests with `wait` be answered
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                outer.queries.append(query)
                if "wait" in query:
                    outer.open.wait(10)
                if not outer.status:
                    return
                self.send_response(outer.status)
                if outer.index is not None:
                    self.send_header("X-Registry-Index", outer.index)
                if outer.retry_after is not None:
                    self.send_header("Retry-After", outer.retry_after)
                self.end_headers()
                self.wfile.write(json.dumps({"services": [], "error": {"message": "no"}}).encode())

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.open.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    pair = Server(), Server()
    yield pair
    for server in pair:
        server.close()


def test_the_list_has_its_revision_and_its_registry(servers):
    first, _ = servers
    client = RegistryClient(first.url)
    assert client.list_services() == ServiceList([], 7, first.url)
    first.index = None
    assert client.list_services().index is None


def test_a_waiting_request_has_a_longer_timeout(servers):
    first, _ = servers
    client = RegistryClient(first.url, timeout=1)
    client.list_services()
    timer = threading.Timer(1.5, first.open.set)
    timer.start()
    assert client.list_services(index=7, wait=5).index == 7
    timer.join()
    assert first.queries == [{}, {"index": ["7"], "wait": ["5"]}]


def test_a_registry_that_exceeds_the_longer_timeout_is_unavailable(servers):
    first, _ = servers
    client = RegistryClient(first.url, timeout=1)
    client.list_services()
    with pytest.raises(Unavailable, match="does not answer in time"):
        client.list_services(index=7, wait=0.2)


@pytest.mark.parametrize("status", [0, 500])
def test_another_registry_gets_no_index_and_stays_the_first(servers, status):
    first, second = servers
    first.open.set()
    second.index = "3"
    client = RegistryClient([first.url, second.url])
    assert client.list_services().url == first.url
    first.status = status
    assert client.list_services(index=7, wait=5) == ServiceList([], 3, second.url)
    assert second.queries == [{}], "a revision of another registry has no meaning there"
    second.open.set()
    assert client.list_services(index=3, wait=5).url == second.url
    assert second.queries[-1] == {"index": ["3"], "wait": ["5"]}


@pytest.mark.parametrize("other", [0, 503])
def test_a_registry_s_own_failure_is_reported_as_what_it_is(servers, other):
    first, second = servers
    first.status, second.status = 503, other
    with pytest.raises(RegistryFailed) as raised:
        RegistryClient([first.url, second.url]).drain("x")
    assert raised.value.message == f"the registry at {first.url} answered 503: no"


@pytest.mark.parametrize("status", [200, 400])
def test_a_registry_that_accepts_writes_is_left_unchanged(servers, status):
    first, _ = servers
    first.status = status
    RegistryClient(first.url).require_write_access()


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Forbidden)])
def test_a_registry_that_accepts_no_writes_is_noticed(servers, status, kind):
    first, _ = servers
    first.status = status
    with pytest.raises(kind, match="no"):
        RegistryClient(first.url).require_write_access()


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (404, NotFound)])
def test_a_refusal_is_not_retried_at_another_registry(servers, status, kind):
    first, second = servers
    first.status = status
    with pytest.raises(kind, match="no"):
        RegistryClient([first.url, second.url]).drain("x")
    assert second.queries == []


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"", "http://r/x: answered 404"), (b'{"error": "Service \'x\' not found"}', "Service 'x' not found")],
)
def test_an_unknown_name_is_understood_from_a_registry_of_the_original(body, message, monkeypatch):
    client = RegistryClient("http://r")
    response = requests.Response()
    response.status_code, response.url, response._content = 404, "http://r/x", body
    monkeypatch.setattr(client, "_send", lambda *_, **__: (response, "http://r"))
    with pytest.raises(NotFound) as failure:
        client.heartbeat("x", "running")
    assert failure.value.message == message


@pytest.mark.parametrize(("retry_after", "seconds"), [("30", 30), (None, 1), ("soon", 1)])
def test_a_rate_limit_has_its_retry_after(servers, retry_after, seconds):
    first, second = servers
    first.status, first.retry_after = 429, retry_after
    with pytest.raises(RateLimited) as failure:
        RegistryClient([first.url, second.url]).report_events([])
    assert (failure.value.retry_after, second.queries) == (seconds, [])


@pytest.mark.parametrize("entry", [b"7", b"[]", b"{}", b'{"name": 1}', b'{"name": "a", "metadata": []}'])
def test_a_list_with_an_invalid_entry_is_refused(entry):
    with pytest.raises(SvcError, match="http://r: not a registry"):
        _ = ServiceList([msgspec.Raw(entry)], None, "http://r").services


@pytest.mark.parametrize("answer", [{}, {"events": [{"kind": "ejected"}], "last": 1}, {"events": [1], "last": 1}])
def test_events_without_text_fields_are_refused(answer, monkeypatch):
    client = RegistryClient("http://r")
    response = requests.Response()
    response.status_code, response._content = 200, json.dumps(answer).encode()
    monkeypatch.setattr(client, "_send", lambda *_, **__: (response, "http://r"))
    with pytest.raises(SvcError, match="http://r: not a registry: it lists no events"):
        client.events()


@pytest.mark.parametrize("token", ["tökén€", "one\ntwo"])
def test_a_token_that_no_header_can_contain_is_named_by_its_file(tmp_path, token):
    path = tmp_path / "token"
    path.write_text(token)
    with pytest.raises(SvcError, match=f"{path}: not a token") as error:
        RegistryClient("http://127.0.0.1:9", str(path)).services()
    assert not isinstance(error.value, Unavailable)
    assert token not in str(error.value)


def test_the_gpus_of_all_hosts_are_read():
    listed = {"service": "a", "hostname": "gpu1", "age": 1.5, "tool": "nvidia-smi", "gpus": [{"index": 0}]}
    server = PageServer({"/gpus": (200, json.dumps({"hosts": [listed]}))})
    try:
        (host,) = RegistryClient(server.url).gpus()
        assert (host.hostname, host.age, [gpu.index for gpu in host.gpus]) == ("gpu1", 1.5, [0])
        del server.pages["/gpus"]
        with pytest.raises(NotFound):
            RegistryClient(server.url).gpus()
    finally:
        server.close()
