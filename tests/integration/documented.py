"""Ask schemathesis whether a running server answers as its /openapi.json describes."""

import subprocess
import sys
from pathlib import Path

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CHECKS = (
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)


def run_schemathesis(port: int, directory: Path, checks: tuple[str, ...], *flags: str) -> None:
    """Run schemathesis in a directory of its own; fail with the requests whose answers differ from the document."""
    url = f"http://127.0.0.1:{port}/openapi.json"
    command = [SCHEMATHESIS, "run", url, "--checks", ",".join(checks), "--no-color", "--warnings", "off", *flags]
    process = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=170)
    assert process.returncode == 0, process.stdout + process.stderr
