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


@pytest.mark.parametrize("forged", [b"x 2026 INFO svc: fine", b"\x9b31m", b"a\tb", b"\x7f", "\u202e".encode()])
def test_an_id_that_is_not_printable_ascii_is_none(forged):
    assert request(x_request_id=forged).head.id == b""
    assert request(b"", (b"X-Correlation-ID", forged)).head.id == b""
