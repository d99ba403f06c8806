"""The router, compiled by mypyc, passes the tests that it passes as pure Python."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.e2e.sites import ROOT

NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "build", "dist", "logs", "var")
SOME = ("tests/unit/router/test_fuzz.py", "tests/unit/router/proxy", "tests/integration/router/test_requests.py")
ALL = ("tests/unit/router", "tests/integration/router")


def python(directory: Path, *arguments: str) -> str:
    """Return the output of Python with the code in this directory; fail if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(directory)
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-10_000:]
    return done.stdout


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Path:
    """Return a copy of the checkout with the compiled modules of its wheel."""
    if shutil.which("cc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        reason = "there is no C compiler, or no header of Python (apt install gcc python3-dev)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    copy, out = tmp_path_factory.mktemp("compiled") / "svc", tmp_path_factory.mktemp("wheel")
    built = subprocess.run([str(ROOT / "ops" / "wheel" / "build.sh"), str(out)], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        wheel.extractall(copy, [name for name in wheel.namelist() if name.endswith(".so")])
    assert '"router": "compiled"' in python(copy, "-m", "svc", "version", "--json")
    return copy


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_compiled_router_passes_some_of_its_tests(compiled):
    python(compiled, "-m", "pytest", "-q", "-m", "not long", *SOME)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_compiled_router_passes_all_its_tests(compiled):
    python(compiled, "-m", "pytest", "-q", "-m", "not long", "-n", "4", "--dist", "loadfile", *ALL)
    python(compiled, "-m", "pytest", "-q", "-m", "long", "tests/unit/router/test_fuzz.py")
