import pytest

from tests.unit.router.examples import request


def test_a_request_brings_its_id_by_several_names():
    assert request().head.id == b""
    assert request(b"", (b"Request-Id", b"r")).head.id == b"r"
    assert request(b"", (b"X-Correlation-ID", b"c")).head.id == b"c"
    assert request(b"", (b"X-Correlation-ID", b"c"), x_request_id=b"x").head.id == b"x"
    assert request(x_request_id=b"x" * 1000).head.id == b"x" * 128


def test_credentials_pass_to_an_instance_without_a_key_only():
    sent = request(b"", (b"Authorization", b"Bearer c"), (b"X-API-Key", b"c"), (b"Accept", b"*/*"))
    assert b"Authorization: Bearer c\r\nX-API-Key: c\r\nAccept" in sent.outgoing(b"h", b"1", b"id")
    for _ in range(2):
        message = sent.outgoing(b"h", b"1", b"id", b"\r\nAuthorization: Bearer ours")
        assert b"\r\nHost: h\r\nAuthorization: Bearer ours\r\nAccept: */*\r\n" in message
        assert b"Bearer c" not in message
    assert b"Bearer ours" not in sent.outgoing(b"h", b"1", b"id")


@pytest.mark.parametrize(
    "name",
    [
        "X_Api_Key",
        "X-Forwarded-Access-Token",
        "X-Forwarded-Authorization",
        "X-Auth-Token",
        "CF-Access-Client-Secret",
        "X-Amz-Security-Token",
        "Ocp-Apim-Subscription-Key",
        "OpenAI-Api-Key",
        "HF-Token",
        "Cookie2",
        "ApiKey",
    ],
)
def test_whatever_may_be_a_credential_reaches_no_instance_with_a_key(name: str):
    sent = request(b"", (name.encode(), b"c-1"), (b"X-Stainless-Os", b"Linux"))
    for authorization in (b"\r\nAuthorization: Bearer ours", b""):
        message = sent.outgoing(b"h", b"1", b"id", authorization)
        assert b"c-1" not in message
        assert b"X-Stainless-Os: Linux" in message
    assert b"c-1" in sent.outgoing(b"h", b"1", b"id")


@pytest.mark.parametrize(
    ("uri", "passed"),
    [
        (b"/v1/messages?key=c", b"/v1/messages"),
        (b"/v1/messages?beta=true&api_key=c&a=%26", b"/v1/messages?beta=true&a=%26"),
        (b"/v1/messages?%6Bey=c&ACCESS%5Ftoken=c", b"/v1/messages"),
        (b"/v1/messages?prompt_cache_key=x&", b"/v1/messages?prompt_cache_key=x&"),
    ],
)
def test_a_key_in_the_query_reaches_no_instance_with_a_key(uri: bytes, passed: bytes):
    sent = request(b"", uri=uri)
    message = sent.outgoing(b"h", b"1", b"id", b"\r\nAuthorization: Bearer ours")
    assert message.startswith(b"POST %b HTTP/1.1\r\n" % passed)
    assert sent.outgoing(b"h", b"1", b"id").startswith(b"POST %b HTTP/1.1\r\n" % uri)


def test_the_operators_token_reaches_no_instance():
    assert b"t-1" not in request(x_operator_token=b"t-1").outgoing(b"h", b"1", b"id")


def test_a_key_among_the_subprotocols_is_a_credential_too():
    def sent(protocols: bytes) -> bytes:
        upgrade = request(b"", (b"Sec-WebSocket-Protocol", protocols), method=b"GET")
        return upgrade.outgoing(b"h", b"1", b"id", b"\r\nAuthorization: Bearer ours")

    assert b"Sec-WebSocket-Protocol: realtime, beta\r\n" in sent(b"realtime,openai-insecure-api-key.sk-1, beta")
    assert b"Protocol" not in sent(b"openai-insecure-api-key.sk-1")


@pytest.mark.parametrize("forged", [b"x 2026 INFO svc: fine", b"\x9b31m", b"a\tb", b"\x7f", "\u202e".encode()])
def test_an_id_that_is_not_printable_ascii_is_none(forged):
    assert request(x_request_id=forged).head.id == b""
    assert request(b"", (b"X-Correlation-ID", forged)).head.id == b""
