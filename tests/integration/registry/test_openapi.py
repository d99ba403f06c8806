"""A running registry answers as its /openapi.json documents, tested with schemathesis."""

import pytest

from tests.integration import documented
from tests.integration.registry.process import Registry
from tests.unit.registry.services import registration

CHECKS = (*documented.CHECKS, "not_a_server_error", "allow_header_conformance", "negative_data_rejection")


@pytest.fixture
def registry(tmp_path):
    running = Registry(tmp_path, "--health-interval", "600", "--health-timeout", "0.2").start()
    yield running
    running.end()


def run_schemathesis(registry: Registry, *flags: str) -> None:
    """Run schemathesis; fail with the requests whose answers differ from the document, or after a failure."""
    registry.client.register(registration("qwen-server"))
    documented.run_schemathesis(registry.port, registry.place, CHECKS, *flags)
    assert registry.client.health()["status"] == "healthy"
    assert "Traceback" not in registry.log.read_text()


def test_requests_are_answered_as_documented(registry):
    phases = "examples,coverage,fuzzing"
    run_schemathesis(registry, "--phases", phases, "--max-examples", "3", "--generation-deterministic")


@pytest.mark.long
def test_many_generated_requests_are_answered_as_documented(registry):
    run_schemathesis(registry, "--max-examples", "200")
