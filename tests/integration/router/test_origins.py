"""What web pages may do at a router on loopback, on relayed paths and at its own endpoints."""

import hashlib
from collections.abc import Iterator

import pytest

from tests.integration.router.client import Answer, Client
from tests.integration.router.instance import Instance, Peer, ReceivedRequest
from tests.integration.router.routers import Router, router, service, static

PAGE, EVIL = "https://chat.example", "https://evil.example"
CHAT = "POST /v1/chat/completions"
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "a2V5"}
ALLOWED = b"access-control-allow-origin"


def careless(peer: Peer, received: ReceivedRequest) -> None:
    """Yield an instance that sends headers for a whole origin."""
    peer.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nSet-Cookie: a=1\r\nService-Worker-Allowed: /\r\n"
        b"Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\nContent-Length: 2\r\n\r\nok"
    )


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    made = Instance()
    made.play(careless)
    yield made
    made.close()


@pytest.fixture(scope="module")
def started(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    path = static(tmp_path_factory.mktemp("origins") / "static.json", [service("a", instance.port, "a")])
    flags = ("--static-services", path, "--cors-origins", PAGE)
    with router(*flags) as running:
        yield running
        assert "Traceback" not in running.output()


@pytest.fixture
def own(started: Router, instance: Instance) -> Router:
    instance.received.clear()
    return started


def send(router: Router, line: str, body: bytes = b"", **headers: str) -> Answer:
    named = {"Host": f"localhost:{router.port}", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    with Client(router.port) as client:
        return client.send(f"{line} HTTP/1.1\r\n{lines}\r\n".encode() + body).answer(line.startswith("HEAD"))


def chat(router: Router, **headers: str) -> Answer:
    return send(router, CHAT, b'{"model": "a"}', **headers)


READS = ("GET /health", "GET /v1/models", "GET /services", "GET /stats", "GET /metrics", "GET /ui", "GET /v1/files/7")


@pytest.mark.parametrize("line", [*READS, CHAT, "POST /ui/drain/a", "OPTIONS /v1/models", "DELETE /v1/files/7"])
def test_a_page_on_a_rebound_name_reads_and_writes_nothing(own: Router, instance: Instance, line: str):
    forged = {"X_Forwarded_For": "127.0.0.1", "X_Forwarded_Host": "localhost"}
    answer = send(own, line, b'{"model": "a"}', Host=f"evil.example:{own.port}", **forged)
    assert (answer.status, answer.error()["code"]) == (421, "misdirected_request")
    assert "allowed_hosts" in answer.error()["message"]
    assert not instance.received


@pytest.mark.parametrize("page", [{"Origin": EVIL}, {"Origin": "null"}, {"Sec_Fetch_Site": "same-site"}])
@pytest.mark.parametrize("line", [CHAT, "POST /ui/drain/a", "DELETE /v1/files/7"])
def test_a_page_of_another_origin_writes_nothing(own: Router, instance: Instance, line: str, page: dict[str, str]):
    answer = send(own, line, b'{"model": "a"}', Content_Type="text/plain", **page)
    assert (answer.status, answer.error()["code"]) == (403, "cross_origin")
    assert "cors_origins" in answer.error()["message"]
    assert answer.header(ALLOWED) is None
    assert not instance.received


def test_a_page_of_another_origin_opens_no_websocket(own: Router, instance: Instance):
    line = "GET /v1/realtime?model=a"
    assert send(own, line, Origin=EVIL, **UPGRADE).status == 403
    assert not instance.received
    assert send(own, line, Origin=PAGE, **UPGRADE).status == 200, "the instance does not upgrade; it was asked"


@pytest.mark.parametrize("line", ["GET /v1/models", "GET /health", "GET /v1/files/7"])
def test_a_page_of_another_origin_may_not_read_an_answer(own: Router, line: str):
    assert send(own, line, Origin=EVIL).header(ALLOWED) is None


def test_no_origin_reaches_an_instance_and_its_answer_is_isolated(own: Router, instance: Instance):
    for _ in range(2):  # the second head is recognized
        answer = chat(own, Origin=PAGE)
        assert answer.header(ALLOWED) == PAGE.encode()
        assert answer.header(b"vary") == b"Origin"
        assert answer.header(b"content-security-policy") == b"sandbox"
        assert answer.header(b"x-content-type-options") == b"nosniff"
        for name in (b"set-cookie", b"service-worker-allowed", b"access-control-allow-credentials"):
            assert answer.header(name) is None
    assert [received.header(b"origin") for received in instance.received] == [None, None]


@pytest.mark.parametrize(
    ("line", "body", "status"),
    [
        ("GET /health", b"", 200),
        ("GET /v1/models/none", b"", 404),
        (CHAT, b'{"model": "none"}', 503),
        (CHAT, b"{", 400),
    ],
)
def test_an_allowed_page_can_read_own_answers_and_errors(own: Router, line: str, body: bytes, status: int):
    answer = send(own, line, body, Origin=PAGE)
    assert (answer.status, answer.header(ALLOWED)) == (status, PAGE.encode())
    assert b"x-request-id" in (answer.header(b"access-control-expose-headers") or b"")


def test_an_allowed_page_can_read_the_error_of_a_refused_head(own: Router):
    answer = send(own, CHAT, Origin=PAGE, Transfer_Encoding="gzip")
    assert (answer.status, answer.header(ALLOWED)) == (400, PAGE.encode())


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/ui/drain/a"])
def test_preflights_are_answered_by_the_router(own: Router, instance: Instance, path: str):
    asks = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization,content-type"}
    answer = send(own, f"OPTIONS {path}", Origin=PAGE, **asks, Access_Control_Request_Private_Network="true")
    assert (answer.status, answer.header(ALLOWED)) == (204, PAGE.encode())
    assert answer.header(b"access-control-allow-headers") == b"authorization,content-type"
    assert answer.header(b"access-control-allow-private-network") == b"true"
    refused = send(own, f"OPTIONS {path}", Origin=EVIL, **asks)
    assert (refused.status, refused.header(ALLOWED)) == (403, None)
    assert not instance.received


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"Origin": "https://localhost:{}"},
        {"Origin": EVIL, "Sec_Fetch_Site": "same-origin"},
        {"Origin": "https://llm.example", "X_Forwarded_Host": "llm.example"},
    ],
)
def test_programs_and_the_routers_own_page_may_write(own: Router, page: dict[str, str]):
    assert chat(own, **{name: value.format(own.port) for name, value in page.items()}).status == 200


def test_the_key_decides_and_a_trusted_proxy_may_name_any_host(tmp_path, instance: Instance):
    digest = hashlib.sha256(b"a-key").hexdigest()
    (tmp_path / "keys.toml").write_text(f'[keys.me]\nsha256 = "{digest}"\ncreated = 2026-01-01T00:00:00Z\n')
    path = static(tmp_path / "static.json", [service("a", instance.port, "a")])
    flags = ("--static-services", path, "--keys-file", tmp_path / "keys.toml", "--trusted-proxies", "127.0.0.1")
    with router(*flags) as keyed:
        page = {"Origin": "chrome-extension://abc", "Host": "llm.example"}
        assert chat(keyed, **page).status == 401
        assert chat(keyed, **page, Authorization="Bearer a-key").status == 200
        preflight = send(keyed, "OPTIONS /v1/models", Access_Control_Request_Method="GET", **page)
        assert preflight.status == 403, "no key is asked for"
