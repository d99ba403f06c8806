"""How the registry is asked: by a real HTTP server that tells what it was asked."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
import requests

from svc.base.errors import NotFound, RateLimited, SvcError, Unauthorized, Unavailable
from svc.client.registry import RegistryClient, ServiceList


class Server:
    """Answers GET /services; `status` 0: breaks the connection off."""

    def __init__(self) -> None:
        self.status = 200
        self.index: str | None = "7"
        self.retry_after: str | None = None
        self.queries: list[dict[str, list[str]]] = []
        self.open = threading.Event()  # a request that may wait goes on when it is set
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


def test_the_list_has_the_revision_and_where_it_is_from(servers):
    one, _ = servers
    client = RegistryClient(one.url)
    assert client.list_services() == ServiceList([], 7, one.url)
    one.index = None
    assert client.list_services().index is None


def test_with_an_index_the_registry_may_wait_longer_than_others_may(servers):
    one, _ = servers
    client = RegistryClient(one.url, timeout=0.2)
    client.list_services()
    timer = threading.Timer(0.6, one.open.set)
    timer.start()
    assert client.list_services(index=7, wait=5).index == 7
    timer.join()
    assert one.queries == [{}, {"index": ["7"], "wait": ["5"]}]


def test_one_that_waits_beyond_that_is_away(servers):
    one, _ = servers
    client = RegistryClient(one.url, timeout=0.1)
    client.list_services()
    with pytest.raises(Unavailable, match="does not answer in time"):
        client.list_services(index=7, wait=0.2)


@pytest.mark.parametrize("status", [0, 500])
def test_where_one_fails_the_next_is_asked_for_all_of_it_and_stays_the_first(servers, status):
    one, two = servers
    one.open.set()
    two.index = "3"
    client = RegistryClient([one.url, two.url])
    assert client.list_services().url == one.url
    one.status = status
    assert client.list_services(index=7, wait=5) == ServiceList([], 3, two.url)
    assert two.queries == [{}], "the other's revision means nothing to it"
    two.open.set()
    assert client.list_services(index=3, wait=5).url == two.url
    assert two.queries[-1] == {"index": ["3"], "wait": ["5"]}


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (404, NotFound)])
def test_a_refusal_is_the_answer_and_no_reason_to_ask_another(servers, status, kind):
    one, two = servers
    one.status = status
    with pytest.raises(kind, match="no"):
        RegistryClient([one.url, two.url]).drain("x")
    assert two.queries == []


@pytest.mark.parametrize(("retry_after", "seconds"), [("30", 30), (None, 1), ("soon", 1)])
def test_a_registry_that_has_had_enough_says_for_how_long(servers, retry_after, seconds):
    one, two = servers
    one.status, one.retry_after = 429, retry_after
    with pytest.raises(RateLimited) as failure:
        RegistryClient([one.url, two.url]).report_events([])
    assert (failure.value.retry_after, two.queries) == (seconds, [])


@pytest.mark.parametrize("entry", [b"7", b"[]", b"{}", b'{"name": 1}', b'{"name": "a", "metadata": []}'])
def test_a_list_with_an_entry_that_is_no_service_is_no_registrys(entry):
    with pytest.raises(SvcError, match="http://r: not a registry"):
        _ = ServiceList([msgspec.Raw(entry)], None, "http://r").services


@pytest.mark.parametrize("answer", [{}, {"events": [{"kind": "ejected"}], "last": 1}, {"events": [1], "last": 1}])
def test_events_without_their_texts_are_no_registrys(answer, monkeypatch):
    client = RegistryClient("http://r")
    response = requests.Response()
    response.status_code, response._content = 200, json.dumps(answer).encode()
    monkeypatch.setattr(client, "_send", lambda *_, **__: (response, "http://r"))
    with pytest.raises(SvcError, match="http://r: not a registry: it lists no events"):
        client.events()
