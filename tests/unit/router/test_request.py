import pytest

from svc.router.request import is_own
from tests.unit.router.made import request


@pytest.mark.parametrize(
    "line",
    [b"GET /health", b"HEAD /v1/models?x=1", b"GET /v1/models/a/b", b"GET /metrics", b"GET /readyz", b"GET /status"],
)
def test_our_own(line: bytes):
    assert is_own(*line.split())


@pytest.mark.parametrize(
    "line",
    [
        b"POST /health", b"GET /health/", b"GET //health", b"OPTIONS /v1/models", b"GET /v1/models2", b"GET /",
        b"DELETE /v1/models/a", b"GET /v1/health", b"GET /%68ealth", b"GET *",
    ],
)  # fmt: skip
def test_the_instances(line: bytes):
    assert not is_own(*line.split())


def test_a_request_brings_its_id_by_several_names():
    assert request().head.id == b""
    assert request(b"", (b"Request-Id", b"r")).head.id == b"r"
    assert request(b"", (b"X-Correlation-ID", b"c")).head.id == b"c"
    assert request(b"", (b"X-Correlation-ID", b"c"), x_request_id=b"x").head.id == b"x"
    assert request(x_request_id=b"x" * 1000).head.id == b"x" * 128


def test_credentials_pass_to_an_instance_without_a_key_only():
    asked = request(b"", (b"Authorization", b"Bearer c"), (b"X-API-Key", b"c"), (b"Accept", b"*/*"))
    assert b"Authorization: Bearer c\r\nX-API-Key: c\r\nAccept" in asked.outgoing(b"h", b"1", b"id")
    for _ in range(2):
        told = asked.outgoing(b"h", b"1", b"id", b"\r\nAuthorization: Bearer ours")
        assert b"\r\nHost: h\r\nAuthorization: Bearer ours\r\nAccept: */*\r\n" in told
        assert b"Bearer c" not in told
    assert b"Bearer ours" not in asked.outgoing(b"h", b"1", b"id")


def test_a_key_among_the_subprotocols_is_a_credential_too():
    def sent(protocols: bytes) -> bytes:
        asked = request(b"", (b"Sec-WebSocket-Protocol", protocols), method=b"GET")
        return asked.outgoing(b"h", b"1", b"id", b"\r\nAuthorization: Bearer ours")

    assert b"Sec-WebSocket-Protocol: realtime, beta\r\n" in sent(b"realtime,openai-insecure-api-key.sk-1, beta")
    assert b"Protocol" not in sent(b"openai-insecure-api-key.sk-1")


@pytest.mark.parametrize("forged", [b"x 2026 INFO svc: fine", b"\x9b31m", b"a\tb", b"\x7f", "\u202e".encode()])
def test_an_id_that_is_not_printable_ascii_is_none(forged):
    assert request(x_request_id=forged).head.id == b""
    assert request(b"", (b"X-Correlation-ID", forged)).head.id == b""
