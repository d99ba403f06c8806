"""A running registry does what its /openapi.json says, whatever it is asked: schemathesis tries."""

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
    one = Registry(tmp_path, "--health-interval", "600", "--health-timeout", "0.2").start()
    yield one
    one.end()


def ask(registry: Registry, *flags: str) -> None:
    """Fails with the requests that were answered otherwise than documented."""
    registry.client.register(registration("qwen-server"))
    url = f"http://127.0.0.1:{registry.port}/openapi.json"
    command = [SCHEMATHESIS, "run", url, "--checks", ",".join(CHECKS), "--no-color", "--warnings", "off", *flags]
    done = subprocess.run(command, cwd=registry.place, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    assert registry.client.health()["status"] == "healthy"
    assert "Traceback" not in registry.log.read_text()


def test_it_answers_as_documented(registry):
    ask(registry, "--phases", "examples,coverage,fuzzing", "--max-examples", "3", "--generation-deterministic")


@pytest.mark.long
def test_it_answers_as_documented_whatever_comes(registry):
    ask(registry, "--max-examples", "200")
