import pytest

from svc.router.connection import is_own


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
