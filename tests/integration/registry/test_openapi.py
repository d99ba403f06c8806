"""A running registry answers as its /openapi.json documents, tested with schemathesis."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.registry.process import Registry
from tests.unit.registry.services import registration

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "allow_header_conformance",
    "negative_data_rejection",
)


@pytest.fixture
def registry(tmp_path):
    running = Registry(tmp_path, "--health-interval", "600", "--health-timeout", "0.2").start()
    yield running
    running.end()


def run_schemathesis(registry: Registry, *flags: str) -> None:
    """Run schemathesis; fail with the requests whose answers differ from the document."""
    registry.client.register(registration("qwen-server"))
    url = f"http://127.0.0.1:{registry.port}/openapi.json"
    command = [SCHEMATHESIS, "run", url, "--checks", ",".join(CHECKS), "--no-color", "--warnings", "off", *flags]
    process = subprocess.run(command, cwd=registry.place, capture_output=True, text=True, timeout=170)
    assert process.returncode == 0, process.stdout + process.stderr
    assert registry.client.health()["status"] == "healthy"
    assert "Traceback" not in registry.log.read_text()


def test_requests_are_answered_as_documented(registry):
    phases = "examples,coverage,fuzzing"
    run_schemathesis(registry, "--phases", phases, "--max-examples", "3", "--generation-deterministic")


@pytest.mark.long
def test_many_generated_requests_are_answered_as_documented(registry):
    run_schemathesis(registry, "--max-examples", "200")
